//! The one table from what happened to status, code and title. No other file knows a status code of a problem.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident $code:literal $title:literal;)*) => {
        /// Every problem that an answer can name (RFC 9457); the text form is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable snake_case code.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status,)* }
            }

            /// One sentence for people.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// The code of that text, if there is one.
            pub fn from_name(name: &str) -> Option<Code> {
                match name { $($code => Some(Code::$name),)* _ => None }
            }
        }
    };
}

impl Code {
    /// Whether it tells that the database cannot be written to, and so not even the refusal can be recorded.
    pub fn is_of_the_store(self) -> bool {
        self.as_str().starts_with("store_")
    }
}

codes! {
    // ── the door ──
    /// The request cannot be read as HTTP in one way only.
    AmbiguousRequest = BAD_REQUEST "ambiguous_request" "The request could be read in two ways";
    /// A request target pangate does not take.
    InvalidTarget = BAD_REQUEST "invalid_target" "The request target is not a plain path";
    /// Upgrade, CONNECT, early data, Expect.
    ProtocolRefused = BAD_REQUEST "protocol_refused" "This protocol feature is not offered";
    /// Plain HTTP on the TLS port.
    TlsRequired = BAD_REQUEST "tls_required" "This port speaks TLS only";
    /// Header section too large.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "headers_too_large" "The header section is too large";
    /// Body too large.
    TooLarge = PAYLOAD_TOO_LARGE "too_large" "The body is larger than this route takes";
    /// Body did not arrive in time.
    BodyTimeout = REQUEST_TIMEOUT "body_timeout" "The body did not arrive in time";
    /// The request took longer than it may.
    RequestTimeout = GATEWAY_TIMEOUT "request_timeout" "The request took too long and its outcome is not known";
    /// The body broke off.
    BodyIncomplete = BAD_REQUEST "body_incomplete" "The body ended before it was complete";
    /// More work than is taken at once.
    Overloaded = SERVICE_UNAVAILABLE "overloaded" "The gateway has as much work as it takes at once";
    /// The gateway is about to stop.
    Draining = SERVICE_UNAVAILABLE "draining" "The gateway is stopping";

    // ── who and what ──
    /// No credential.
    MissingCredential = UNAUTHORIZED "missing_credential" "No credential was presented";
    /// A credential nobody holds, or one that was revoked or has expired.
    UnknownCredential = UNAUTHORIZED "unknown_credential" "The credential is not valid";
    /// Name, password, code or account: which it was is not told.
    SignInRefused = UNAUTHORIZED "sign_in_refused" "The sign-in was refused";
    /// What only a person's session can do.
    SessionRequired = FORBIDDEN "session_required" "This needs the session of a person";
    /// The first password opens its own change alone.
    PasswordChangeRequired = FORBIDDEN "password_change_required" "The first password has to be changed";
    /// An account without a second factor opens its enrolment alone.
    SecondFactorRequired = FORBIDDEN "second_factor_required" "A second factor has to be enrolled";
    /// A new password that is none.
    PasswordRefused = UNPROCESSABLE_ENTITY "password_refused" "The new password is not taken";
    /// No such account, or another tenant's.
    UnknownPerson = NOT_FOUND "unknown_person" "There is no such account";
    /// The name is somebody's.
    NameTaken = CONFLICT "name_taken" "The name is taken";
    /// The account is at another stage.
    AccountState = CONFLICT "account_state" "The account is not in a state that allows this";
    /// The key is bound to other networks.
    NetworkNotAllowed = FORBIDDEN "network_not_allowed" "The key is not for use from this network";
    /// The key is bound to other routes.
    RouteNotAllowed = FORBIDDEN "route_not_allowed" "The key is not for use on this route";
    /// More requests than are taken from one caller.
    RateLimited = TOO_MANY_REQUESTS "rate_limited" "More requests came than are taken from one caller";
    /// The policy does not allow it, or forbids it.
    Forbidden = FORBIDDEN "forbidden" "The policy does not allow this";
    /// A training that the role requires ran out.
    TrainingExpired = FORBIDDEN "training_expired" "A training that the role requires has expired";
    /// Something else that the role requires is missing; `reason` says what.
    RoleNotEffective = FORBIDDEN "role_not_effective" "The role is not effective now";
    /// No such route.
    UnknownRoute = NOT_FOUND "unknown_route" "There is nothing at this path";
    /// The path exists with another method.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "The path does not take this method";

    // ── the body ──
    /// Not JSON.
    MalformedJson = BAD_REQUEST "malformed_json" "The body is not well-formed JSON";
    /// Not a form.
    MalformedForm = BAD_REQUEST "malformed_form" "The body is not a well-formed form";
    /// Not multipart.
    MalformedMultipart = BAD_REQUEST "malformed_multipart" "The body is not well-formed multipart/form-data";
    /// One key twice.
    DuplicateKey = BAD_REQUEST "duplicate_key" "A key stands twice in one object";
    /// Nested too deep, or too many values.
    TooDeep = BAD_REQUEST "too_deep" "The body is nested deeper than this route takes";
    /// Content type, charset or encoding that cannot be read.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "The body's content type is not taken here";
    /// Could not be decoded.
    Undecodable = BAD_REQUEST "undecodable" "The body cannot be decoded";
    /// A field of the wrong type.
    WrongType = UNPROCESSABLE_ENTITY "wrong_type" "A field has the wrong type";
    /// A field that the shape lacks.
    UnknownField = UNPROCESSABLE_ENTITY "unknown_field" "A field is not part of this request";
    /// A field that must be there.
    MissingField = UNPROCESSABLE_ENTITY "missing_field" "A required field is missing";
    /// A field's value is out of its range.
    InvalidField = UNPROCESSABLE_ENTITY "invalid_field" "A field's value is not allowed";
    /// A card number that is none.
    InvalidCardNumber = UNPROCESSABLE_ENTITY "invalid_card_number" "The card number is not valid";
    /// An expiry that no card bears, or past.
    InvalidExpiry = UNPROCESSABLE_ENTITY "invalid_expiry" "The expiry date is not valid";
    /// A CVC of the wrong form.
    InvalidCvc = UNPROCESSABLE_ENTITY "invalid_cvc" "The card verification code is not valid";
    /// An amount that is none.
    InvalidAmount = UNPROCESSABLE_ENTITY "invalid_amount" "The amount or currency is not valid";
    /// Something like a card number where none belongs.
    StrayPan = BAD_REQUEST "stray_pan" "Something that could be a card number stands where none belongs";
    /// Something like a CVC where none belongs.
    StraySensitiveData = BAD_REQUEST "stray_sensitive_data" "Card verification data stands where none belongs";

    // ── tokens ──
    /// Not a token, none of this tenant's, or none at all.
    UnknownToken = NOT_FOUND "unknown_token" "There is no such token";
    /// The record was shredded or its token has expired.
    TokenGone = GONE "token_gone" "The card behind this token was destroyed or its token has expired";

    // ── money ──
    /// No open payment and no stored-card consent.
    NoOpenPayment = CONFLICT "no_open_payment" "The token was not collected for this charge";
    /// The card was declined; `code` then carries the processor's reason.
    Declined = PAYMENT_REQUIRED "card_declined" "The card was declined";
    /// No such charge.
    UnknownCharge = NOT_FOUND "unknown_charge" "There is no such charge";
    /// No such refund.
    UnknownRefund = NOT_FOUND "unknown_refund" "There is no such refund";
    /// The charge is not in a state that allows it.
    ChargeState = CONFLICT "charge_state" "The charge is not in a state that allows this";
    /// More than is left.
    RefundExceedsCapture = UNPROCESSABLE_ENTITY "refund_exceeds_capture" "The refund is more than what is left of the charge";
    /// The refund waits for nobody, or for somebody else.
    RefundState = CONFLICT "refund_state" "The refund is not in a state that allows this";
    /// The approver asked for it.
    SecondPersonRequired = FORBIDDEN "second_person_required" "Another person has to approve this";
    /// Stored outcome unknown; ask again with the same key.
    InDoubt = SERVICE_UNAVAILABLE "outcome_in_doubt" "The processor's answer is not known yet";

    // ── keys ──
    /// No such key or version.
    UnknownKey = NOT_FOUND "unknown_key" "There is no such key";
    /// Nothing of that tenant.
    UnknownTenant = NOT_FOUND "unknown_tenant" "There is nothing of this tenant";
    /// No such approval.
    UnknownApproval = NOT_FOUND "unknown_approval" "There is no such approval";
    /// No such job.
    UnknownJob = NOT_FOUND "unknown_job" "There is no such job";
    /// Used, rejected or expired.
    ApprovalState = CONFLICT "approval_state" "The approval is not open any more";
    /// The approver named another act.
    ApprovalActMismatch = CONFLICT "approval_act_mismatch" "The approval is for another act";
    /// The device asks its officers.
    DeviceTicketRequired = UNPROCESSABLE_ENTITY "device_ticket_required" "The device asks for its officers' tickets";
    /// The device said no.
    DeviceRefused = CONFLICT "device_refused" "The device refused the act";
    /// The key is at another stage of its life.
    KeyState = CONFLICT "key_state" "The key is not in a state that allows this";
    /// Rows still depend on it.
    KeyStillNeeded = CONFLICT "key_still_needed" "The key is still needed";
    /// Work that excludes this one goes on.
    JobExcluded = CONFLICT "job_excluded" "Other work on keys has to end first";
    /// The job is in another state.
    JobState = CONFLICT "job_state" "The job is not in a state that allows this";
    /// `[hsm.target]` is missing or wrong.
    NoTargetDevice = CONFLICT "no_target_device" "The settings name no device to move to";

    // ── idempotency ──
    /// A key that is required.
    IdempotencyKeyRequired = BAD_REQUEST "idempotency_key_required" "This request needs an Idempotency-Key";
    /// A key that is too long or not printable.
    IdempotencyKeyInvalid = BAD_REQUEST "idempotency_key_invalid" "The Idempotency-Key is not valid";
    /// One key, two bodies.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused" "The Idempotency-Key was used with another body";
    /// The twin still runs.
    IdempotencyInFlight = CONFLICT "idempotency_in_flight" "A request with this Idempotency-Key is still running";

    // ── what is away ──
    /// The HSM.
    HsmUnavailable = SERVICE_UNAVAILABLE "hsm_unavailable" "The HSM does not answer";
    /// The database.
    StoreUnavailable = SERVICE_UNAVAILABLE "store_unavailable" "The database does not answer";
    /// The database's disk.
    StoreFull = SERVICE_UNAVAILABLE "store_full" "The database's disk is full";
    /// The database's mode: only standbys, or an administrator's setting.
    StoreReadOnly = SERVICE_UNAVAILABLE "store_read_only" "The database takes no writes";
    /// The database's connections.
    StoreConnections = SERVICE_UNAVAILABLE "store_connections" "The database has no connection left";
    /// The database's door.
    StoreLogin = SERVICE_UNAVAILABLE "store_login" "The database refuses the gateway's login";
    /// The database's pace.
    StoreSlow = SERVICE_UNAVAILABLE "store_slow" "The database took too long";
    /// The database, for the moment.
    StoreBusy = SERVICE_UNAVAILABLE "store_busy" "The database is busy";
    /// The companion.
    CompanionUnavailable = SERVICE_UNAVAILABLE "companion_unavailable" "The companion does not answer";
    /// `policy/vendors` has no record of the host for this class of data.
    VendorUnlisted = SERVICE_UNAVAILABLE "vendor_unlisted" "The policy lets no such data go to the host";
    /// The record's agreement or attestation has run out.
    VendorExpired = SERVICE_UNAVAILABLE "vendor_expired" "The host's record in the policy has run out";
    /// The host's name leads to an address that its record does not allow.
    VendorAddress = SERVICE_UNAVAILABLE "vendor_address" "The host's name leads where its record does not allow";
    /// The processor.
    ProcessorUnavailable = SERVICE_UNAVAILABLE "processor_unavailable" "The processor does not answer";
    /// The companion's answer held something like a card number.
    StrayPanInAnswer = BAD_GATEWAY "stray_pan_in_answer" "The companion's answer was withheld";
    /// The companion's answer could not be read.
    AnswerUnreadable = BAD_GATEWAY "answer_unreadable" "The companion's answer could not be read";
    /// The companion's answer would have the request sent elsewhere.
    AnswerDiverts = BAD_GATEWAY "answer_diverts" "The companion's answer would lead elsewhere";
    /// A stored record does not open.
    Integrity = INTERNAL_SERVER_ERROR "integrity" "A stored record failed its integrity check";
    /// Anything else; the log knows.
    Internal = INTERNAL_SERVER_ERROR "internal" "Something went wrong inside the gateway";
}
