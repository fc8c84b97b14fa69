-- The HSM's own log by timelines. A device whose state was set back writes other entries under numbers that are
-- stored already: they begin a timeline of their own, so that neither account is lost.

CREATE TABLE device_log_by_timeline (
    -- The device's serial number.
    device   TEXT NOT NULL,
    timeline INTEGER NOT NULL CHECK (timeline > 0),
    seq      INTEGER NOT NULL CHECK (seq > 0),
    entry    BLOB NOT NULL,
    taken_at INTEGER NOT NULL,
    PRIMARY KEY (device, timeline, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO device_log_by_timeline (device, timeline, seq, entry, taken_at)
    SELECT device, 1, seq, entry, taken_at FROM device_log;

CREATE TABLE device_log_timeline (
    device       TEXT NOT NULL,
    timeline     INTEGER NOT NULL CHECK (timeline > 0),
    -- The number of the last entry before it began.
    begins_after INTEGER NOT NULL CHECK (begins_after >= 0),
    -- 'first_seen', or what made it begin.
    reason       TEXT NOT NULL,
    began_at     INTEGER NOT NULL,
    -- The newest head under the device's signature that the stored entries reach, and the number of its entry.
    head_seq     INTEGER,
    head         BLOB,
    PRIMARY KEY (device, timeline)
) STRICT, WITHOUT ROWID;

INSERT INTO device_log_timeline (device, timeline, begins_after, reason, began_at)
    SELECT device, 1, 0, 'first_seen', MIN(taken_at) FROM device_log GROUP BY device;

DROP TABLE device_log;
ALTER TABLE device_log_by_timeline RENAME TO device_log;
