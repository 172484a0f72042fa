"""A certificate that nobody knows, and a proxy that puts TLS in front of a server."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import trustme


def self_signed(folder: Path, host_name: str = "localhost") -> Path:
    """Return a PEM file with a key and a certificate, for 127.0.0.1 and a name, that vouches for itself."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", host_name)
    path = folder / "yeedu.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    authority.cert_pem.write_to_path(path, append=True)
    return path


def private_authority(folder: Path, *names: str) -> tuple[Path, Path]:
    """Return a CA's certificate, and a PEM file with a key and a certificate that the CA gave a server.

    Args:
        folder: Where the two files go.
        names: Host names of the server, beside localhost and 127.0.0.1.
    """
    authority = trustme.CA()
    files = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(files[0])
    certificate = authority.issue_cert("127.0.0.1", "localhost", *names)
    certificate.private_key_and_cert_chain_pem.write_to_path(files[1])
    return files


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return what a server needs to show the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@contextlib.contextmanager
def tls_proxy(certificate: Path, port: int) -> Iterator[int]:
    """Serve what listens on a port of this machine over TLS; yields the proxy's own port."""
    context = server_context(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(raw: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(raw, server_side=True) as client,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            back = threading.Thread(target=carry, args=[server, client], daemon=True)
            back.start()
            carry(client, server)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                threading.Thread(target=serve, args=[raw], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
    listener.close()
    thread.join()
