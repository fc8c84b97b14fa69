-- The HSM's own log by timelines. A device whose state was set back writes other entries under numbers that are
-- stored already: they begin a timeline of their own, so that neither account is lost.

ALTER TABLE device_log ADD COLUMN timeline BIGINT NOT NULL DEFAULT 1 CHECK (timeline > 0);
ALTER TABLE device_log ALTER COLUMN timeline DROP DEFAULT;
ALTER TABLE device_log DROP CONSTRAINT device_log_pkey;
ALTER TABLE device_log ADD PRIMARY KEY (device, timeline, seq);

CREATE TABLE device_log_timeline (
    device       TEXT COLLATE "C" NOT NULL,
    timeline     BIGINT NOT NULL CHECK (timeline > 0),
    -- The number of the last entry before it began.
    begins_after BIGINT NOT NULL CHECK (begins_after >= 0),
    -- 'first_seen', or what made it begin.
    reason       TEXT COLLATE "C" NOT NULL,
    began_at     TIMESTAMPTZ NOT NULL,
    -- The newest head under the device's signature that the stored entries reach, and the number of its entry.
    head_seq     BIGINT,
    head         BYTEA,
    PRIMARY KEY (device, timeline)
);

INSERT INTO device_log_timeline (device, timeline, begins_after, reason, began_at)
    SELECT device, 1, 0, 'first_seen', MIN(taken_at) FROM device_log GROUP BY device;
