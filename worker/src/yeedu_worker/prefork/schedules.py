"""Reads schedules when it is imported, so that all is imported that Prefect needs for that.

Prefect does so when it first reads one, and a flow run reads those of its deployment.
"""

from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule

CronSchedule(cron="0 0 * * *", timezone="UTC")
RRuleSchedule(rrule="FREQ=DAILY", timezone="UTC")
