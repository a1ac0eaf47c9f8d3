"""The in-process grid: the real apps, one site at a time, when the server looks for its reply."""

from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from simulations.grid import InProcessGrid, serve


def echo(calls: list[str]) -> ClientApp:
    """Answers a query with its site's name, and fails where the site is called `broken`."""
    application = ClientApp()

    @application.query("hello")
    def hello(message: Message, context: Context) -> Message:
        site = str(context.node_config["site"])
        calls.append(site)
        if site == "broken":
            raise RuntimeError("the disk is on fire")
        return Message(RecordDict({"answer": ConfigRecord({"site": site})}), reply_to=message)

    return application


def hello_to(node: int) -> Message:
    return Message(RecordDict(), dst_node_id=node, message_type="query.hello")


def test_nodes_are_numbered_in_the_order_of_their_configurations() -> None:
    grid = InProcessGrid(echo([]), [{"site": "a"}, {"site": "b"}])
    replies = grid.send_and_receive([hello_to(node) for node in grid.get_node_ids()])
    assert grid.get_node_ids() == [1, 2]
    answers = [(reply.metadata.src_node_id, reply.content.config_records["answer"]["site"]) for reply in replies]
    assert answers == [(1, "a"), (2, "b")]


def test_a_site_works_when_its_reply_is_pulled_and_once() -> None:
    calls: list[str] = []
    grid = InProcessGrid(echo(calls), [{"site": "a"}, {"site": "b"}])
    first, second = grid.push_messages([hello_to(1), hello_to(2)])
    assert calls == []
    assert len(grid.pull_messages([second])) == 1
    assert calls == ["b"]
    assert grid.pull_messages([second]) == []
    assert len(grid.pull_messages([first, "no such message"])) == 1
    assert calls == ["b", "a"]


def test_an_exception_of_a_client_becomes_an_error_reply_and_the_others_go_on() -> None:
    grid = InProcessGrid(echo([]), [{"site": "broken"}, {"site": "b"}])
    broken, whole = grid.send_and_receive([hello_to(1), hello_to(2)])
    assert broken.has_error()
    assert "RuntimeError: the disk is on fire" in str(broken.error.reason)
    assert not whole.has_error()


def test_an_interrupt_is_no_exception_of_a_client() -> None:
    application = ClientApp()

    @application.query("hello")
    def hello(message: Message, context: Context) -> Message:
        raise KeyboardInterrupt

    grid = InProcessGrid(application, [{"site": "a"}])
    with pytest.raises(KeyboardInterrupt):
        grid.send_and_receive([hello_to(1)])


def test_serve_hands_the_run_configuration_and_every_node_to_the_server(tmp_path: Path) -> None:
    seen: list[object] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        seen.extend([list(grid.get_node_ids()), context.run_config["study"]])

    serve(server, InProcessGrid(echo([]), [{"site": "a"}, {"site": "b"}]), run_config={"study": "s"})
    assert seen == [[1, 2], "s"]


def test_errors_of_the_server_come_out_as_they_are() -> None:
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        serve(server, InProcessGrid(echo([]), [{"site": "a"}]), run_config={})
