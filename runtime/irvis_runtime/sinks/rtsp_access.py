"""Who may see what an RTSP output sends: the password that players show, the certificate that it shows."""

from __future__ import annotations

import ipaddress
import stat
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import gst
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri

ANYBODY = "anybody"
"""The role of players of a server that asks for no password."""


@dataclass(frozen=True)
class Credentials:
    """What a player has to show."""

    user: str
    password: str


@dataclass(frozen=True)
class Access:
    """How a server is guarded.

    `certificate_file`, `private_key_file`: PEM, of rtsps://; one file may hold both. None: not encrypted.
    """

    credentials: Credentials | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None

    def certificate(self) -> Any:
        """Returns the Gio.TlsCertificate, None where nothing is encrypted; BackendError for a wrong file."""
        if self.certificate_file is None:
            return None
        glib, gio = import_module("gi.repository.GLib"), import_module("gi.repository.Gio")
        key_file = self.private_key_file or self.certificate_file
        try:
            return gio.TlsCertificate.new_from_files(str(self.certificate_file), str(key_file))
        except glib.GError as error:
            raise BackendError(
                f"certificate: expected a certificate and its private key in PEM, {self.certificate_file} "
                f"and {key_file}: {error.message}; `openssl req -x509` makes both"
            ) from error

    def guard(self, server: Any, factory: Any) -> None:
        """Has the server show its certificate, and ask for the password by digest: it is not sent itself."""
        if self.credentials is None and self.certificate_file is None:
            return
        rtsp, lib = rtsp_server(), import_module("gi.repository.GstRtsp")
        role = ANYBODY if self.credentials is None else self.credentials.user
        auth, token = rtsp.RTSPAuth(), rtsp.RTSPToken()
        token.set_string(rtsp.RTSP_TOKEN_MEDIA_FACTORY_ROLE, role)
        if self.credentials is None:
            auth.set_default_token(token)
        else:
            auth.set_supported_methods(lib.RTSPAuthMethod.DIGEST)
            auth.add_digest(self.credentials.user, self.credentials.password, token)
        if self.certificate_file is not None:
            auth.set_tls_certificate(self.certificate())
        server.set_auth(auth)
        permissions = rtsp.RTSPPermissions()
        for permission in (rtsp.RTSP_PERM_MEDIA_FACTORY_ACCESS, rtsp.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
            permissions.add_permission_for_role(role, permission, True)
        factory.set_permissions(permissions)


def read_access(uri: Uri, config: OutputConfig) -> Access:
    """Returns what the output's keys say; ContractError where a file is missing or everybody may read it."""
    credentials = None if config.credentials is None else read_credentials(config.credentials)
    if uri.scheme == "rtsp":
        return Access(credentials)
    if config.certificate is None:
        raise ContractError(
            f'{uri.text}: expected certificate = "FILE" (PEM) in this [[output]]; add it, or write rtsp://'
        )
    if not config.certificate.is_file():
        raise ContractError(f"certificate: expected a PEM file, {config.certificate} is none")
    _check_is_secret("private_key", config.private_key or config.certificate)
    return Access(credentials, config.certificate, config.private_key)


def read_credentials(path: Path) -> Credentials:
    """Returns the file's `user:password`; ContractError where it has none or everybody may read it."""
    _check_is_secret("credentials", path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"credentials: {path} cannot be read ({error}); name another file") from error
    user, colon, password = text.strip().partition(":")
    if not (user and colon and password) or "\n" in password:
        raise ContractError(f"credentials: expected one line user:password in {path}")
    return Credentials(user, password)


def _check_is_secret(key: str, path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ContractError(f"{key}: {path} cannot be read ({error}); name another file") from error
    if mode & stat.S_IRWXO:
        raise ContractError(f"{key}: everybody may read {path}; run `chmod 600 {path}`")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def rtsp_server() -> ModuleType:
    """Returns the module GstRtspServer; BackendError that names the package where it is missing."""
    gst()
    try:
        import_module("gi").require_version("GstRtspServer", "1.0")
        return import_module("gi.repository.GstRtspServer")
    except (ImportError, ValueError) as error:
        raise BackendError(
            f"rtsp:// needs GStreamer's RTSP server ({error}); "
            "install it with `apt-get install gir1.2-gst-rtsp-server-1.0`, or send rtp:// to a receiver"
        ) from error
