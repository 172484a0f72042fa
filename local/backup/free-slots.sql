-- Which flow run holds a slot is known only outside the database, and forgotten by now, so nothing would free the slot.
-- The second table holds the tag limits of an older Prefect.
UPDATE concurrency_limit_v2 SET active_slots = 0;
UPDATE concurrency_limit SET active_slots = '[]';
