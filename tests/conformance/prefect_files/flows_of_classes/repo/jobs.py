from prefect import flow


class Jobs:
    @flow(name="static-job", log_prints=True)
    @staticmethod
    def static():
        print("static")

    @flow(name="class-job", log_prints=True)
    @classmethod
    def of_class(cls, rows: int = 1):
        print(cls.__name__, rows)
