-- Who holds a slot is known outside of the database, and forgotten meanwhile, so that nobody would free it. The second
-- table has the limits of tags that an older Prefect made.
UPDATE concurrency_limit_v2 SET active_slots = 0;
UPDATE concurrency_limit SET active_slots = '[]';
