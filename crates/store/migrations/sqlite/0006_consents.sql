-- The consent to keep a card and to charge it again stands in the card's own row: which request gave it, and when. It
-- is written with the card, without a second row and a second index.

ALTER TABLE card ADD COLUMN consent TEXT;
ALTER TABLE card ADD COLUMN consented_at INTEGER;

UPDATE card SET (consent, consented_at) =
    (SELECT request, opened_at FROM purpose WHERE purpose.tenant = card.tenant AND purpose.token = card.token
        AND kind = 'stored_card' ORDER BY id LIMIT 1);

DELETE FROM purpose WHERE kind = 'stored_card';
