-- Ticks that were due between the backup and now may have run meanwhile: they are not run a second time. Those that had
-- begun when the backup was made stay: what they began is theirs to end.
DELETE FROM flow_run
WHERE auto_scheduled AND state_type = 'SCHEDULED' AND state_name IN ('Scheduled', 'Late') AND run_count = 0
AND expected_start_time < CURRENT_TIMESTAMP;
