-- The consent to keep a card and to charge it again stands in the card's own row: which request gave it, and when. It
-- is written with the card, without a second row and a second index.

ALTER TABLE card ADD COLUMN consent TEXT COLLATE "C";
ALTER TABLE card ADD COLUMN consented_at TIMESTAMPTZ;

UPDATE card SET consent = given.request, consented_at = given.opened_at
    FROM (SELECT DISTINCT ON (tenant, token) tenant, token, request, opened_at FROM purpose
          WHERE kind = 'stored_card' ORDER BY tenant, token, id) AS given
    WHERE given.tenant = card.tenant AND given.token = card.token;

DELETE FROM purpose WHERE kind = 'stored_card';
