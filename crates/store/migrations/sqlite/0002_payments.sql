-- What a retry of a charge or refund is compared with, and what the resolver and the lists look rows up by.

ALTER TABLE charge ADD COLUMN capture INTEGER NOT NULL DEFAULT 1 CHECK (capture IN (0, 1));
ALTER TABLE refund ADD COLUMN idempotency_key TEXT;
ALTER TABLE refund ADD COLUMN request_hash BLOB;

-- One key, one refund, whoever races.
CREATE UNIQUE INDEX refund_key ON refund (tenant, requested_by, idempotency_key);

CREATE INDEX charge_listing ON charge (tenant, created_at, id);
CREATE INDEX refund_listing ON refund (tenant, created_at, id);
CREATE INDEX charge_unsettled ON charge (updated_at) WHERE status IN ('started', 'in_doubt');
CREATE INDEX refund_unsettled ON refund (updated_at) WHERE status IN ('pending_approval', 'started', 'in_doubt');
CREATE INDEX sandbox_reference ON sandbox_book (reference);
