"""The store belongs to one thread: nothing that serves a request is called in another one."""

from inspect import iscoroutinefunction

from fastapi.routing import iter_route_contexts

from yeedu_mock.app import create_app


def test_routes_and_what_they_depend_on_run_in_the_event_loop(yeedu_mock):
    routes = create_app(yeedu_mock.mock)._app.routes
    waiting = [route.dependant for route in iter_route_contexts(routes) if getattr(route, "dependant", None)]
    assert len(waiting) > 100
    while waiting:
        dependant = waiting.pop()
        assert iscoroutinefunction(dependant.call), dependant.call
        waiting += dependant.dependencies
