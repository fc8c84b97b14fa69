-- What an API key is bound to, and when it was last used.

-- Networks that it may be used from, as CIDR, one a line; none means from anywhere.
ALTER TABLE credential ADD COLUMN networks TEXT COLLATE "C";
-- Routes that it may be used for, one a line; none means what its role may do.
ALTER TABLE credential ADD COLUMN routes TEXT COLLATE "C";
-- Written at most once an hour.
ALTER TABLE credential ADD COLUMN last_used TIMESTAMPTZ;
