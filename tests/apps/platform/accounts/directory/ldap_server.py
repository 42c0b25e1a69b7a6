"""A real OpenLDAP of its own on the loopback: LDAPS, and LDAP with StartTLS, with people and groups."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import find_free_port

SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"
BASE, BIND_DN, BIND_PASSWORD = "dc=works,dc=example", "cn=plane,dc=works,dc=example", "of the plane"
PASSWORDS = {"engineer": "Directory-Pw-1", "newcomer": "Directory-Pw-2"}
CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/pid
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
security simple_bind=1
database mdb
suffix "dc=works,dc=example"
directory {folder}/data
rootdn "cn=plane,dc=works,dc=example"
rootpw "of the plane"
overlay memberof
access to attrs=userPassword by anonymous auth
access to * by * read
"""
PERSON = """
dn: uid={uid},ou=people,dc=works,dc=example
objectClass: inetOrgPerson
uid: {uid}
cn: {uid}
sn: {uid}
displayName: Name of {uid}
mail: {uid}@works.example
userPassword: {password}
"""
ENTRIES = """
dn: dc=works,dc=example
objectClass: dcObject
objectClass: organization
o: Works
dc: works

dn: ou=people,dc=works,dc=example
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=works,dc=example
objectClass: organizationalUnit
ou: groups
"""
GROUPS = "".join(
    f"""
dn: cn={group},ou=groups,dc=works,dc=example
objectClass: groupOfNames
cn: {group}
member: uid={uid},ou=people,dc=works,dc=example
"""
    for group, uid in (("ml", "engineer"), ("a group, unknown", "engineer"), ("admins", "newcomer"))
)


class LdapServer:
    def __init__(self, folder: Path) -> None:
        self.authority = folder / "certificate.pem"
        self.ports = [find_free_port(), find_free_port()]
        (folder / "data").mkdir()
        make_certificate(folder)
        config = folder / "slapd.conf"
        config.write_text(CONFIG.format(folder=folder))
        people = "".join(PERSON.format(uid=uid, password=password) for uid, password in PASSWORDS.items())
        subprocess.run([SLAPD, "-T", "add", "-f", config], input=ENTRIES + people, check=True, text=True)
        self.process = subprocess.Popen([SLAPD, "-f", config, "-h", " ".join(self.urls), "-d", "0"])
        self.wait()
        from ldap3 import Connection

        with Connection(self.urls[0], BIND_DN, BIND_PASSWORD) as connection:  # memberof works on what is added later
            for entry in GROUPS.strip().split("\n\n"):
                dn, *lines = entry.splitlines()
                pairs = [line.split(": ", 1) for line in lines]
                assert connection.add(dn.removeprefix("dn: "), attributes=dict(pairs)), connection.result

    @property
    def urls(self) -> list[str]:
        return [f"ldaps://127.0.0.1:{self.ports[0]}", f"ldap://127.0.0.1:{self.ports[1]}"]

    def wait(self) -> None:
        for _ in range(3000):  # a minute: the machine may be busy
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[0])) == 0:
                    return
            assert self.process.poll() is None, "slapd has ended"
            time.sleep(0.02)
        raise AssertionError("slapd does not listen")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def make_certificate(folder: Path) -> None:
    """Self-signed, for 127.0.0.1 and no name: `localhost` is another host to it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "directory of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def start(folder: Path) -> LdapServer:
    pytest.importorskip("ldap3", reason="ldap3 is not installed")
    if not Path(SLAPD).exists():
        pytest.skip("slapd is not installed")
    return LdapServer(folder)
