"""open-iscsi's node records: what is set in them, and that secrets come and go with the chap-file."""

from kvmontap.attach import noderecord

RECORD = """\
# BEGIN RECORD 2.1.11
node.name = iqn.2003-01.org.lab:array
node.tpgt = 1
node.startup = automatic
node.session.auth.authmethod = None
node.session.auth.chap_algs = MD5
node.session.timeo.replacement_timeout = 120
node.conn[0].address = 10.9.1.10
# END RECORD
"""
CHAP = {"username": "kvm", "password": "one secret = long", "username-in": "array", "password-in": "another one"}


def values(text):
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)


def test_without_chap():
    text = noderecord.edited(RECORD, noderecord.settings({}))
    got = values(text)
    assert got["node.startup"] == "manual"
    assert got["node.session.timeo.replacement_timeout"] == "5"
    assert got["node.session.auth.authmethod"] == "None"
    assert got["node.session.auth.chap_algs"] == "MD5" and got["node.conn[0].address"] == "10.9.1.10"
    assert text.splitlines()[0] == "# BEGIN RECORD 2.1.11" and text.endswith("# END RECORD\n")
    assert noderecord.edited(text, noderecord.settings({})) == text


def test_mutual_chap_and_back():
    text = noderecord.edited(RECORD, noderecord.settings(CHAP))
    got = values(text)
    assert got["node.session.auth.authmethod"] == "CHAP"
    assert got["node.session.auth.username"] == "kvm" and got["node.session.auth.password"] == "one secret = long"
    assert got["node.session.auth.username_in"] == "array" and got["node.session.auth.password_in"] == "another one"
    assert text.index("password_in") < text.index("# END RECORD")
    assert noderecord.edited(text, noderecord.settings(CHAP)) == text
    one_way = noderecord.edited(text, noderecord.settings({"username": "kvm", "password": "new"}))
    assert "another one" not in one_way and "username_in" not in one_way and values(one_way)["node.session.auth.password"] == "new"
    assert "secret" not in noderecord.edited(text, noderecord.settings({}))


def test_a_key_that_stands_there_twice_is_set_once():
    twice = RECORD.replace("node.tpgt = 1\n", "node.tpgt = 1\nnode.startup = onboot\n")
    assert noderecord.edited(twice, {"node.startup": "manual"}).count("node.startup") == 1


def test_what_a_chap_file_must_have():
    assert noderecord.chap_problem(CHAP) == ""
    assert noderecord.chap_problem({"username": "kvm", "password": "x"}) == ""
    assert "password=" in noderecord.chap_problem({"username": "kvm"})
    assert "both" in noderecord.chap_problem({**CHAP, "password-in": ""})
    assert "both directions" in noderecord.chap_problem({**CHAP, "password-in": CHAP["password"]})
    assert "passwort" in noderecord.chap_problem({"username": "kvm", "password": "x", "passwort": "hush"})
    for wrong in ({**CHAP, "password-in": CHAP["password"]}, {**CHAP, "password-in": ""}, {**CHAP, "passwort": "hush"}):
        assert not any(secret in noderecord.chap_problem(wrong) for secret in ("one secret", "another one", "hush"))


def test_what_discovery_prints():
    said = ("10.9.1.10:3260,1 iqn.2003-01.org.lab:array\n[fd00:0::10]:3261,1028 iqn.1992-08.com.netapp:sn.1:vs.3\n"
            "iscsiadm: No portals found\n\n10.9.1.10,1 x\n")
    assert noderecord.discovered(said) == (
        ("10.9.1.10", 3260, "1", "iqn.2003-01.org.lab:array"), ("fd00:0::10", 3261, "1028", "iqn.1992-08.com.netapp:sn.1:vs.3"))
