"""Host keys, logins and links: what is refused, on both planes and on every hop."""

from __future__ import annotations

import base64
import getpass
import hashlib
import re
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.errors import ConfigError, Refused
from biso_tasks.host import Host, HostError, SshHost, Unreachable, command
from biso_tasks.host.explain import changed_hint, keyscan_hint, ssh_failure
from biso_tasks.host.process import private_directory
from biso_tasks.host.resolve import parse_destination

pytestmark = [pytest.mark.real, pytest.mark.needs("ssh")]


def control(host: Host) -> None:
    host.run(command("true"))


def data(host: Host) -> None:
    child = host.start(
        command("true"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, err = child.communicate(timeout=30)
    assert child.returncode == 0, err


both_planes = pytest.mark.parametrize("plane", [control, data])


def public(path: Path) -> str:
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def quoted(hint: str) -> list[str]:
    """The commands of a remedy."""
    return re.findall("`([^`]+)`", hint)


def sha256(line: str) -> str:
    blob = base64.b64decode(line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    path = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@both_planes
def test_a_known_key_is_accepted(plane: Any, sshd: Any, connect_to: Any) -> None:
    plane(connect_to(sshd))


@both_planes
def test_an_unknown_host_key_is_refused_with_the_way_to_make_it_known(
    plane: Any, sshd: Any, connect_to: Any
) -> None:
    with pytest.raises(Refused, match="not known") as refused:
        plane(connect_to(sshd, known=""))
    assert refused.value.exit_code == 3
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1" in refused.value.hint
    assert "known_hosts" in refused.value.hint


@both_planes
def test_a_changed_host_key_is_refused_with_fingerprints_file_and_line(
    plane: Any, sshd: Any, connect_to: Any, other_key: Path
) -> None:
    known = f"# a comment\n[127.0.0.1]:{sshd.port} {public(other_key)}\n"
    with pytest.raises(Refused, match="has changed") as refused:
        plane(connect_to(sshd, known=known))
    assert sha256(public(sshd.host_key)) in refused.value.message
    assert "known_hosts line 2" in refused.value.message
    if plane is control:
        assert sha256(public(other_key)) in refused.value.message


@both_planes
@pytest.mark.parametrize("alias", ["the-real-name", "127.0.0.1"])
def test_of_a_host_key_alias_the_remedy_scans_the_host_itself_and_names_the_alias(
    plane: Any, sshd: Any, connect_to: Any, other_key: Path, alias: str
) -> None:
    """The alias is what known_hosts is asked for, and nothing that answers: not on port 22."""
    for known, said in (("", "not known"), (f"{alias} {public(other_key)}\n", "has changed")):
        host = connect_to(sshd, known=known, extra=f"  HostKeyAlias {alias}")
        with pytest.raises(Refused, match=said) as refused:
            plane(host)
        hint = refused.value.hint
        assert f"{alias} is its HostKeyAlias" in hint
        commands = [one for one in quoted(hint) if one.startswith(("ssh-keygen -R", "ssh-keyscan"))]
        file = shlex.split(hint.rpartition("append the line to ")[2])[0]
        for one in commands:
            done = subprocess.run(["bash", "-euc", one], check=True, capture_output=True)
        with open(file, "ab") as known_hosts:
            known_hosts.write(done.stdout)
        plane(host)


@pytest.mark.parametrize(
    ("lookup", "where", "scan"),
    [
        ("db.example.ch", "me@DB.example.ch:22", "ssh-keyscan -p 22 db.example.ch"),
        ("[db.example.ch]:2222", "me@db.example.ch:2222", "ssh-keyscan -p 2222 db.example.ch"),
        ("::1", "me@::1:22", "ssh-keyscan -p 22 ::1"),
        ("[::1]:2222", "me@::1:2222", "ssh-keyscan -p 2222 ::1"),
        ("jump", "", "ssh-keyscan -p 22 jump"),
        ("biso", "me@::1:2222", "ssh-keyscan -p 2222 ::1 | sed 's/^[^# ][^ ]*/biso/'"),
        ("a/b&c", "me@h:22", r"ssh-keyscan -p 22 h | sed 's/^[^# ][^ ]*/a\/b\&c/'"),
    ],
)
def test_only_another_name_than_the_hosts_own_is_put_into_the_scanned_line(
    lookup: str, where: str, scan: str
) -> None:
    for hint in (keyscan_hint(lookup, [], where), changed_hint(lookup, [], where)):
        command = next(one for one in quoted(hint) if one.startswith("ssh-keyscan"))
        assert command == scan
        _, piped, sed = command.partition(" | ")
        assert ("HostKeyAlias" in hint) == bool(piped)
        if piped:
            scanned = "# [::1]:2222 SSH-2.0-x\n[::1]:2222 ssh-ed25519 AAAA\n"
            done = subprocess.run(["bash", "-c", sed], input=scanned, text=True, stdout=-1)
            assert done.stdout == f"# [::1]:2222 SSH-2.0-x\n{lookup} ssh-ed25519 AAAA\n"


def test_fabric_alone_accepts_a_wrong_host_key(sshd: Any, tmp_path: Path) -> None:
    """The trap that our policy defends against."""
    import fabric

    connection = fabric.Connection(
        "127.0.0.1",
        port=sshd.port,
        connect_kwargs={"key_filename": str(sshd.client_key), "allow_agent": False},
    )
    connection.open()
    assert connection.is_connected
    connection.client.close()


@both_planes
def test_a_revoked_key_is_refused_even_if_it_is_listed(
    plane: Any, sshd: Any, connect_to: Any
) -> None:
    with pytest.raises(Refused):
        plane(connect_to(sshd, known=sshd.line + "@revoked " + sshd.line.replace("[", "*,[")))


@both_planes
def test_hashed_entries_patterns_and_aliases_of_known_hosts_count(
    plane: Any, sshd: Any, connect_to: Any, tmp_path: Path
) -> None:
    hashed = tmp_path / "hashed"
    hashed.write_text(sshd.line)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(hashed)], check=True, capture_output=True)
    assert "127.0.0.1" not in hashed.read_text()
    plane(connect_to(sshd, known=hashed.read_text()))
    plane(connect_to(sshd, known=f"[127.0.*]:{sshd.port} {public(sshd.host_key)}\n"))
    plane(connect_to(sshd, known=f"127.0.0.1 {public(sshd.host_key)}\n"))
    aliased = f"the-real-name {public(sshd.host_key)}\n"
    plane(connect_to(sshd, known=aliased, extra="  HostKeyAlias the-real-name"))
    with pytest.raises(Refused):
        plane(connect_to(sshd, known=sshd.line, extra="  HostKeyAlias the-real-name"))


@both_planes
def test_one_of_two_known_keys_of_the_same_kind_is_enough(
    plane: Any, sshd: Any, connect_to: Any, other_key: Path
) -> None:
    stale = f"[127.0.0.1]:{sshd.port} {public(other_key)}\n"
    plane(connect_to(sshd, known=stale + sshd.line))


@both_planes
def test_the_kind_of_key_that_is_known_is_asked_for(
    plane: Any, start_sshd: Any, connect_to: Any, other_key: Path
) -> None:
    rsa = other_key.with_name("rsa")
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", str(rsa)], check=True)
    server = start_sshd(extra=f"HostKey {rsa}")
    plane(connect_to(server, known=f"[127.0.0.1]:{server.port} {public(rsa)}\n"))


@both_planes
def test_the_users_own_config_cannot_weaken_the_checks(
    plane: Any, sshd: Any, connect_to: Any
) -> None:
    weak = "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"
    weak += "  NoHostAuthenticationForLocalhost yes\n  UpdateHostKeys yes\n"
    with pytest.raises(Refused):
        plane(connect_to(sshd, known="", extra=weak, before="Host *\n" + weak))


@both_planes
def test_other_habits_of_a_users_config_do_no_harm(plane: Any, sshd: Any, connect_to: Any) -> None:
    extra = "  RemoteCommand tmux\n  RequestTTY yes\n  ForwardAgent yes\n  ControlMaster auto\n"
    extra += "  ControlPath /nonexistent/%C\n  ControlPersist 10m\n  LocalForward 1 localhost:1\n"
    extra += "  PermitLocalCommand yes\n  LocalCommand false\n"
    plane(connect_to(sshd, extra=extra))


@both_planes
def test_an_included_config_is_followed(
    plane: Any, sshd: Any, tmp_path: Path, connect_to: Any
) -> None:
    inner = tmp_path / "inner"
    inner.write_text(f"Host far\n  HostName 127.0.0.1\n  Port {sshd.port}\n")
    host = connect_to(sshd, name="far", before=f"Include {inner}")
    plane(host)
    assert host.address.endswith(f"@127.0.0.1:{sshd.port}")


@both_planes
def test_a_jump_host_works_and_every_hop_is_checked(
    plane: Any, sshd: Any, sshd_two: Any, connect_to: Any, other_key: Path
) -> None:
    def through(known: str) -> SshHost:
        hop = (
            f"Host hop\n  HostName 127.0.0.1\n  Port {sshd_two.port}\n  User {getpass.getuser()}\n"
        )
        hop += f"  IdentityFile {sshd_two.client_key}\n  IdentitiesOnly yes\n"
        hop += "  StrictHostKeyChecking no\n"
        host: SshHost = connect_to(sshd, known=known, before=hop, extra="  ProxyJump hop")
        return host

    before = sshd_two.log.count("Accepted publickey")
    plane(through(sshd.line + sshd_two.line))
    assert sshd_two.log.count("Accepted publickey") == before + 1
    with pytest.raises(Refused, match=f"{sshd_two.port}"):
        plane(through(sshd.line))
    wrong = f"[127.0.0.1]:{sshd_two.port} {public(other_key)}\n"
    with pytest.raises(Refused, match="changed"):
        plane(through(sshd.line + wrong))
    with pytest.raises(Refused, match=f"{sshd.port}"):
        plane(through(sshd_two.line))


@both_planes
def test_two_jump_hosts_in_a_row_work(
    plane: Any, sshd: Any, sshd_two: Any, connect_to: Any
) -> None:
    hop = "Host hop{0}\n  HostName 127.0.0.1\n  Port {1}\n  User {2}\n  IdentityFile {3}\n"
    before = hop.format(1, sshd.port, getpass.getuser(), sshd.client_key)
    before += hop.format(2, sshd_two.port, getpass.getuser(), sshd_two.client_key)
    known = sshd.line + sshd_two.line
    plane(connect_to(sshd, known=known, before=before, extra="  ProxyJump hop1,hop2"))


@both_planes
def test_a_proxy_command_works(plane: Any, sshd: Any, connect_to: Any) -> None:
    code = "exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!"
    plane(connect_to(sshd, extra=f"  ProxyCommand bash -c '{code}'"))


@both_planes
def test_a_login_that_is_not_let_in_is_told_what_was_tried(
    plane: Any, sshd: Any, connect_to: Any, other_key: Path
) -> None:
    host = connect_to(sshd, before=f"Host *\n  IdentityFile {other_key}\n")
    sshd_key = sshd.folder / "authorized_keys"
    kept = sshd_key.read_text()
    sshd_key.write_text("")
    try:
        with pytest.raises(Unreachable, match="does not let us in") as refused:
            plane(host)
    finally:
        sshd_key.write_text(kept)
    assert f"-p {sshd.port} " in refused.value.hint and "ssh-copy-id" in refused.value.hint
    if plane is control:
        assert str(other_key) in refused.value.message


def test_an_encrypted_key_without_an_agent_is_said(
    sshd: Any, connect_to: Any, other_key: Path
) -> None:
    words = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(other_key)]
    subprocess.run(words, check=True, capture_output=True)
    host = connect_to(sshd)
    host._ssh_config.write_text(
        host._ssh_config.read_text().replace(str(sshd.client_key), str(other_key))
    )
    with pytest.raises(Unreachable, match=r"does not let us in .*(encrypted|passphrase)") as failed:
        control(host)
    assert "ssh-add" in failed.value.hint


def test_with_identities_only_the_agent_gives_the_named_key(
    sshd: Any, connect_to: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    agent = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL)
    try:
        while not agent.exists():
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        subprocess.run(["ssh-add", "-q", str(sshd.client_key)], check=True, capture_output=True)
        only_public = tmp_path / "named.pub"
        only_public.write_text(public(sshd.client_key) + "\n")
        only_public.chmod(0o600)
        host = connect_to(sshd)
        text = host._ssh_config.read_text().replace(str(sshd.client_key), str(only_public))
        host._ssh_config.write_text(text)
        control(host)
        data(host)
    finally:
        process.terminate()
        process.wait()


@both_planes
def test_a_port_where_nothing_listens_is_said_at_once(plane: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host = SshHost("prod", f"127.0.0.1:{port}", None, tmp_path / "none")
    with pytest.raises(Unreachable, match="refused") as refused:
        plane(host)
    assert "sshd runs" in refused.value.hint
    assert str(port) in refused.value.message
    host.close()


@both_planes
def test_a_name_that_does_not_resolve_is_said(plane: Any, tmp_path: Path) -> None:
    host = SshHost("prod", "no-such-host.invalid", None, tmp_path / "none")
    with pytest.raises(Unreachable, match="could not resolve the name") as refused:
        plane(host)
    assert "biso.toml" in refused.value.hint
    host.close()


@both_planes
def test_a_server_that_says_nothing_does_not_hang_us(plane: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        host = SshHost("prod", f"127.0.0.1:{port}", None, tmp_path / "none")
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            plane(host)
        # The control plane comes first; what moves data waits as for a host that was reached.
        assert time.monotonic() - begun < (20 if plane is control else 60)
        host.close()


def test_a_broken_ssh_config_is_a_configuration_error(sshd: Any, connect_to: Any) -> None:
    with pytest.raises(ConfigError, match="nosuchoption"):
        connect_to(sshd, extra="  NoSuchOption yes").run(command("true"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("biso-prod", ("biso-prod",)),
        ("me@host", ("-l", "me", "host")),
        ("me@host:2222", ("-l", "me", "-p", "2222", "host")),
        ("[::1]:22", ("-p", "22", "::1")),
    ],
)
def test_a_destination_is_an_alias_or_user_host_port(text: str, words: tuple[str, ...]) -> None:
    assert parse_destination(text).words == words


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=id", "a b", "u@-x", "-l@x", "h:0", "h:99999", "a:b", "u@h:22:1"]
)
def test_a_destination_that_could_be_an_option_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        SshHost("prod", text)


@both_planes
def test_a_cut_link_is_an_error_of_ours_and_the_next_run_connects_again(
    plane: Any, start_sshd: Any, connect_to: Any
) -> None:
    server = start_sshd()
    host = connect_to(server)
    plane(host)
    threading.Timer(0.5, server.cut).start()
    if plane is control:
        with pytest.raises(HostError, match="prod: the connection to the host was lost"):
            host.run(command("sleep", "20"))
    else:
        child = host.start(
            command("sleep", "20"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert child.wait(15) == 255
    plane(host)
    server.cut()  # while nobody looks
    plane(host)


def test_a_silent_link_does_not_hang_a_command_and_the_next_one_connects_again(
    start_sshd: Any, connect_to: Any
) -> None:
    server = start_sshd()
    host = connect_to(server)
    control(host)
    with server.silent_after(0.5):
        begun = time.monotonic()
        with pytest.raises(HostError, match=r"prod: .*did not report its end"):
            host.run(command("sleep", "60"), timeout=1)
        control(host)
        assert time.monotonic() - begun < 60


@both_planes
def test_data_and_control_planes_agree_about_who_and_where(
    plane: Any, sshd: Any, connect_to: Any
) -> None:
    host = connect_to(sshd)
    assert host.address == f"{getpass.getuser()}@127.0.0.1:{sshd.port}"
    assert host.login == getpass.getuser()
    assert connect_to(sshd, name="second").address == host.address


def test_one_host_reaches_another_only_with_a_key_that_it_knows(
    sshd: Any, sshd_two: Any, connect_to: Any, local: Any
) -> None:
    source, target = connect_to(sshd), connect_to(sshd_two, name="test")
    assert source.reachable_from(local)
    assert not source.reachable_from(target)  # the machine's own known_hosts does not hold it
    assert not local.reachable_from(target)


def test_the_socket_path_is_short_enough_and_private(monkeypatch: Any, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    directory = private_directory()
    assert len(str(directory)) < 40
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.rmdir()


def test_close_leaves_no_directory_and_no_process(sshd: Any, connect_to: Any) -> None:
    host = connect_to(sshd)
    data(host)
    control(host)
    directory = Path(host.ssh_words()[2]).parent
    assert directory.is_dir()
    master = host._master
    assert master is not None
    begun = time.monotonic()
    host.close()
    assert time.monotonic() - begun < 2
    assert not directory.exists()
    assert master.returncode is not None
    data(host)  # and it opens again when it is used again


def test_of_a_changed_key_the_name_is_forgotten_that_openssh_complains_of() -> None:
    """A jump host's may have changed: to forget the other one's would take a good key away."""
    said = (
        "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n"
        "The fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc.\n"
        "Offending ED25519 key in /home/a b/known_hosts:3\n"
        "Host key for [jump.example.ch]:2222 has changed and you have requested strict checking.\n"
    )
    refused = ssh_failure("prod", "biso@10.0.0.5:22", said)
    assert refused is not None
    assert "ssh-keygen -R '[jump.example.ch]:2222' -f '/home/a b/known_hosts'" in refused.hint
    assert "ssh-keyscan -p 2222 jump.example.ch" in refused.hint
    silent = ssh_failure("prod", "biso@10.0.0.5:22", said.rpartition("Host key for")[0])
    assert silent is not None and "ssh-keygen" not in silent.hint
