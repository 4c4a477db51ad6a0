"""The bundled client, made by packaging/wheels as a build makes it: whole for what our code asks, and without anything else."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TRIM = runpy.run_path(str(ROOT / "packaging" / "trim"), run_name="trim")
# Loads each class named, then whatever the nested fields of every schema loaded so far name, until nothing new appears.
LOAD = """
import json, sys
sys.path[:0] = [sys.argv[1]]
import marshmallow
from netapp_ontap import config, error, host_connection, resources, response
for name in sys.argv[2:]:
    getattr(resources, name)
resolved = set()
while True:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("netapp_ontap.") and module]
    fields = [field for module in modules for made in vars(module).values()
              if isinstance(made, type) and issubclass(made, marshmallow.Schema) and made.__module__ == module.__name__
              for field in made._declared_fields.values()]
    nested = [one for field in fields for one in (field, getattr(field, "inner", None))
              if isinstance(one, marshmallow.fields.Nested) and id(one) not in resolved]
    if not nested:
        break
    for field in nested:
        resolved.add(id(field))
        field.nested()
loaded = {module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "netapp_ontap"}
print(json.dumps([len(resolved), sorted(loaded)]))
"""


@pytest.fixture(scope="module")
def vendor(tmp_path_factory):
    """What the package has in /usr/lib/kvmontap/vendor."""
    made = tmp_path_factory.mktemp("wheels") / "vendor"
    done = subprocess.run([sys.executable, ROOT / "packaging" / "wheels", made], capture_output=True, text=True, check=False,
                          env={"KVMONTAP_CACHE": "/var/cache/kvmontap", **os.environ})
    assert done.returncode == 0, done.stderr
    return made


def kinds(vendor):
    """The class names that our code names and the client has."""
    return sorted(set(TRIM["index"](vendor / "netapp_ontap")) & TRIM["words"]())


def test_every_kind_of_record_that_the_code_names_works_and_nothing_is_shipped_in_vain(vendor):
    named = kinds(vendor)
    assert {"Volume", "Snapshot", "IpInterface", "Svm", "CifsShare", "FileClone", "Job"} <= set(named)
    done = subprocess.run([sys.executable, "-I", "-S", "-W", "ignore", "-c", LOAD, vendor, *named], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    nested, loaded = json.loads(done.stdout)
    shipped = {str(path) for path in (vendor / "netapp_ontap").rglob("*.py")}
    assert nested > 300 and set(loaded) <= shipped
    assert sorted(shipped - set(loaded)) == []


def test_the_bundled_libraries_stay_small(vendor):
    """Compiling them is what an installation waits for; the whole client is 1,750 files of 10 MB."""
    sources = list(vendor.rglob("*.py"))
    assert len(sources) < 700 and sum(path.stat().st_size for path in sources) < 6_000_000


def test_what_is_named_stays_and_the_indexes_name_nothing_else(tmp_path):
    client = tmp_path / "netapp_ontap"
    for name, text in {
        "resources/__init__.py": "'Volume' : 'netapp_ontap.resources.volume:Volume',\n"
        "'Cluster' : 'netapp_ontap.resources.cluster:Cluster',\n",
        "resources/volume.py": 'Nested(lambda: lazy("netapp_ontap.models.space", "Space"))\n',
        "resources/cluster.py": "",
        "models/__init__.py": '"""Prose."""\nfrom netapp_ontap.models.space import Space\nfrom netapp_ontap.models.node import Node\n'
        '__all__ = [\n    "Space",\n    "Node",\n]\n',
        "models/space.py": 'Nested("netapp_ontap.models.deep.DeepSchema")\n# netapp_ontap.models.absent\n',
        "models/deep.py": 'Nested("netapp_ontap.resources.volume.VolumeSchema")\n',
        "models/node.py": "",
    }.items():
        (client / name).parent.mkdir(parents=True, exist_ok=True)
        (client / name).write_text(text)
    assert TRIM["index"](client) == {"Volume": "resources.volume", "Cluster": "resources.cluster"}
    TRIM["drop"](client, TRIM["reached"](client, ["resources.volume"]))
    assert {str(path.relative_to(client)) for path in client.rglob("*.py")} == {
        "resources/__init__.py", "resources/volume.py", "models/__init__.py", "models/space.py", "models/deep.py"}
    assert (client / "resources/__init__.py").read_text() == "'Volume' : 'netapp_ontap.resources.volume:Volume',\n"
    kept = '"""Prose."""\nfrom netapp_ontap.models.space import Space\n__all__ = [\n    "Space",\n]\n'
    assert (client / "models/__init__.py").read_text() == kept


def test_words_of_the_code_are_strings_and_attributes(tmp_path):
    (tmp_path / "m.py").write_text('records("Lun")\nlibrary.resources.Igroup.x()\nNvme = "a Word in prose"\n')
    assert TRIM["words"](tmp_path) == {"Lun", "Igroup"}


def test_a_client_of_another_form_is_refused(tmp_path):
    (tmp_path / "netapp_ontap/resources").mkdir(parents=True)
    (tmp_path / "netapp_ontap/resources/__init__.py").write_text("import everything\n")
    done = subprocess.run([ROOT / "packaging" / "trim", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "has netapp-ontap changed its form?" in done.stderr
