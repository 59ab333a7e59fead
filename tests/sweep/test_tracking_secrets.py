"""Does no part of a URI that may be a secret get into a message, a journal or a config?"""

import pytest
from omegaconf import OmegaConf

from thpsweep.errors import OptionError
from thpsweep.sweep.tracking import secrets
from thpsweep.sweep.tracking.target import Target, target

SECRET = [
    "http://ada:hush@host:5000",
    "http://hush@host:5000",
    "https://hush:@host",
    "postgresql://ada:hush@host/db",
    "postgresql://host/db?user=ada&password=hush",
    "postgresql://host/db?passwd=hush",
    "mysql://host/db?ssl=1&pwd=hush",
    "postgresql://host/db?sslpassword=hush",
    "postgresql://host/db?PASSWORD=hush",
    "postgresql://host/db?pass%77ord=hush",
    "mssql+pyodbc:///?odbc_connect=Server%3Dhost%3BPwd%3Dhush",
    "http://host:5000/?token=hush",
    "http://host:5000/?hush",
    "http://host:5000/#hush",
    "postgresql://ada:hu@sh@host/db",
    "postgresql://ada:hush/1@host/db",
    "postgresql://ada:hush?1@host/db",
    "postgresql://ada:hush#1@host/db",
    "postgresql://ada:hush%40@host/db",
    "http://ada:x@hush@host:5000",
]


@pytest.mark.parametrize("uri", SECRET)
def test_a_typed_secret_is_refused_and_not_repeated(tmp_path, uri):
    with pytest.raises(OptionError) as refusal:
        target(tmp_path, uri)
    assert "hush" not in str(refusal.value) and "hu@sh" not in str(refusal.value)


@pytest.mark.parametrize("uri", SECRET)
def test_it_is_kept_out_of_what_others_say(tmp_path, uri):
    where = Target(uri, tmp_path)
    text = f"cannot connect to {uri}: no"
    assert "hush" not in where.shown(text) and "hu@sh" not in where.shown(text) and where.shown(text).endswith(": no")
    assert "hush" not in where.without_user and "sh@" not in where.without_user


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:5000",
        "https://host/mlflow/",
        "http://[::1]:5000",
        "postgresql://ada@host/db",
        "postgresql://ada@/db?host=/run/postgresql&sslmode=require",
        "sqlite:////folder/a@b/mlflow.db",
    ],
)
def test_a_uri_without_secrets_is_shown_as_it_is(tmp_path, uri):
    assert secrets.values(uri) == set() and Target(uri, tmp_path).shown(uri) == uri


@pytest.mark.parametrize(
    ("raw", "typed"),
    [
        ("${oc.env:MY_MLFLOW}", False),
        ("http://ada:${oc.env:PW}@host", False),
        ("http://${oc.env:TOKEN}@host", False),
        ("http://ada:hush@${oc.env:HOST}", True),
        ("${oc.env:MY_MLFLOW,http://ada:hush@host}", True),
        ("${oc.env:MY_MLFLOW,http://host:5000}", False),
        ("http://host?passwd=hush&host=${oc.env:HOST}", True),
    ],
)
def test_an_interpolation_hides_what_it_stands_for_and_nothing_else(raw, typed):
    assert secrets.are_typed(raw) == typed
    assert OmegaConf.create({"uri": raw})._get_node("uri")._value() == raw  # OmegaConf takes each of them
