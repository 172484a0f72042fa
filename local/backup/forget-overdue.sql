-- Ticks that were due between the backup and now may have run since, so they must not run again. Flow runs that had begun
-- when the backup was made stay: they have to end what they began.
DELETE FROM flow_run
WHERE auto_scheduled AND state_type = 'SCHEDULED' AND state_name IN ('Scheduled', 'Late') AND run_count = 0
AND expected_start_time < CURRENT_TIMESTAMP;
