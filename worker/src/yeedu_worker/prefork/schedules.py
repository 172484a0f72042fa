"""Parses schedules when it is imported, which imports everything that Prefect needs for that.

Otherwise Prefect imports it at the first schedule, and a flow run reads those of its deployment.
"""

from prefect.client.schemas.schedules import CronSchedule, RRuleSchedule

CronSchedule(cron="0 0 * * *", timezone="UTC")
RRuleSchedule(rrule="FREQ=DAILY", timezone="UTC")
