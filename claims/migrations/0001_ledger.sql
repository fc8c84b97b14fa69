-- Accounts, statements, payments by token, and the double-entry ledger.
-- Money is whole minor units with its ISO 4217 code. No column can be meant for a card number.

CREATE TABLE accounts (
    id           TEXT PRIMARY KEY,
    tenant       TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    currency     TEXT NOT NULL,
    created_at   TEXT NOT NULL
) STRICT;

CREATE TABLE statements (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    account    TEXT NOT NULL REFERENCES accounts (id),
    status     TEXT NOT NULL CHECK (status IN ('open', 'paid')),
    currency   TEXT NOT NULL,
    due_date   TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX statements_of_account ON statements (account);

CREATE TABLE statement_lines (
    statement    TEXT NOT NULL REFERENCES statements (id),
    number       INTEGER NOT NULL CHECK (number > 0),
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    service_date TEXT NOT NULL,
    units        INTEGER NOT NULL CHECK (units > 0),
    unit_minor   INTEGER NOT NULL CHECK (unit_minor > 0),
    PRIMARY KEY (statement, number)
) STRICT;

CREATE TABLE payments (
    id             TEXT PRIMARY KEY,
    tenant         TEXT NOT NULL,
    principal      TEXT NOT NULL,
    request_id     TEXT NOT NULL,
    key_digest     BLOB NOT NULL CHECK (length(key_digest) = 32),
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
    account        TEXT NOT NULL REFERENCES accounts (id),
    statement      TEXT NOT NULL REFERENCES statements (id),
    token          TEXT NOT NULL,
    brand          TEXT NOT NULL,
    last4          TEXT NOT NULL CHECK (length(last4) = 4),
    minor          INTEGER NOT NULL CHECK (minor > 0),
    currency       TEXT NOT NULL,
    note           TEXT,
    state          TEXT NOT NULL CHECK (state IN ('charging', 'succeeded', 'declined', 'refused')),
    charge         TEXT UNIQUE,
    answer_status  INTEGER,
    answer_body    TEXT,
    created_at     TEXT NOT NULL,
    finished_at    TEXT,
    UNIQUE (tenant, key_digest),
    CHECK ((state = 'charging') = (answer_body IS NULL)),
    CHECK (state <> 'succeeded' OR charge IS NOT NULL)
) STRICT;
CREATE INDEX payments_of_statement ON payments (statement, state);
CREATE INDEX payments_of_account ON payments (account);
-- The few whose outcome is still to be asked for.
CREATE INDEX payments_under_way ON payments (created_at) WHERE state = 'charging';

CREATE TRIGGER payments_finish_once BEFORE UPDATE ON payments WHEN OLD.state <> 'charging'
BEGIN SELECT RAISE(ABORT, 'a finished payment never changes'); END;
CREATE TRIGGER payments_keep_what_was_asked
BEFORE UPDATE OF id, tenant, key_digest, request_digest, account, statement, token, minor, currency ON payments
BEGIN SELECT RAISE(ABORT, 'what a payment asked for never changes'); END;
CREATE TRIGGER payments_stay BEFORE DELETE ON payments
BEGIN SELECT RAISE(ABORT, 'payments are never deleted'); END;

CREATE TABLE refunds (
    id             TEXT PRIMARY KEY,
    tenant         TEXT NOT NULL,
    payment        TEXT NOT NULL REFERENCES payments (id),
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32),
    minor          INTEGER NOT NULL CHECK (minor > 0),
    currency       TEXT NOT NULL,
    reason         TEXT NOT NULL,
    created_at     TEXT NOT NULL
) STRICT;
CREATE INDEX refunds_of_payment ON refunds (payment);
CREATE TRIGGER refunds_never_change BEFORE UPDATE ON refunds
BEGIN SELECT RAISE(ABORT, 'refunds are append-only'); END;
CREATE TRIGGER refunds_stay BEFORE DELETE ON refunds
BEGIN SELECT RAISE(ABORT, 'refunds are append-only'); END;

-- A posting is written after its entries: inserting it closes them, and the close checks that they balance.
-- The deferred reference makes a commit with entries but no posting impossible.
CREATE TABLE postings (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('charge', 'payment', 'refund', 'adjustment', 'reversal')),
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE entries (
    posting   TEXT NOT NULL REFERENCES postings (id) DEFERRABLE INITIALLY DEFERRED,
    leg       INTEGER NOT NULL CHECK (leg > 0),
    statement TEXT NOT NULL REFERENCES statements (id),
    account   TEXT NOT NULL
              CHECK (account IN ('patient_receivable', 'cash_clearing', 'revenue', 'adjustments')),
    side      TEXT NOT NULL CHECK (side IN ('debit', 'credit')),
    minor     INTEGER NOT NULL CHECK (minor > 0),
    currency  TEXT NOT NULL,
    PRIMARY KEY (posting, leg)
) STRICT;
CREATE INDEX entries_of_statement ON entries (statement, account);

CREATE TRIGGER postings_balance BEFORE INSERT ON postings
WHEN (SELECT count(*) FROM entries WHERE posting = NEW.id) < 2
  OR EXISTS (SELECT 1 FROM entries WHERE posting = NEW.id GROUP BY currency
             HAVING sum(CASE side WHEN 'debit' THEN minor ELSE -minor END) <> 0)
BEGIN SELECT RAISE(ABORT, 'debits and credits of a posting differ'); END;
CREATE TRIGGER entries_join_no_closed_posting BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM postings WHERE id = NEW.posting)
BEGIN SELECT RAISE(ABORT, 'the posting is closed'); END;
CREATE TRIGGER postings_never_change BEFORE UPDATE ON postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_stay BEFORE DELETE ON postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_stay BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
