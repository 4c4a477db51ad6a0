"""LUNs and namespaces (read), igroups, subsystems, and their maps."""

from __future__ import annotations

from typing import Any

from ..exchange import Answer, ApiError, no_entry
from ..query import Collection, list_answer, truth
from ..san import IGROUP, LUN, NAMESPACE, SUBSYSTEM, Access, Block
from . import Call, body_of

_BLOCK = """access_mode attributes auto_delete class clone comment consistency_group convert copy create_time enabled encryption
    location lun_maps metric movement name os_type provisioning_options qos_policy serial_number serial_number_hex space statistics
    status subsystem_map svm uuid vvol"""
LUNS = Collection(
    "/api/storage/luns", ("uuid", "name"), frozenset(_BLOCK.split()),
    ("auto_delete", "lun_maps.*", "movement.*", "status.mapped", "statistics.*", "metric.*", "copy.*"),
    lambda row: f"/api/storage/luns/{row['uuid']}",
)  # fmt: skip
NAMESPACES = Collection(
    "/api/storage/namespaces", ("uuid", "name"), frozenset(_BLOCK.split()),
    ("auto_delete", "subsystem_map.*", "status.mapped", "statistics.*", "metric.*"),
    lambda row: f"/api/storage/namespaces/{row['uuid']}",
)  # fmt: skip
IGROUPS = Collection(
    "/api/protocols/san/igroups", ("uuid", "name"),
    frozenset("""comment connectivity_tracking delete_on_unmap igroups initiators lun_maps name os_type parent_igroups portset protocol
    replication supports_igroups svm target uuid""".split()),
    ("connectivity_tracking.*", "lun_maps.*"), lambda row: f"/api/protocols/san/igroups/{row['uuid']}",
)  # fmt: skip
SUBSYSTEMS = Collection(
    "/api/protocols/nvme/subsystems", ("uuid", "name"),
    frozenset("""comment delete_on_unmap hosts io_queue name os_type replication serial_number subsystem_maps svm target_nqn uuid
    vendor_uuids""".split()),
    ("subsystem_maps.*",), lambda row: f"/api/protocols/nvme/subsystems/{row['uuid']}",
)  # fmt: skip
LUN_MAPS = Collection(
    "/api/protocols/san/lun-maps", ("lun.uuid", "lun.name", "igroup.uuid", "igroup.name"),
    frozenset("igroup logical_unit_number lun replicated reporting_nodes svm".split()), ("reporting_nodes.*",),
    lambda row: f"/api/protocols/san/lun-maps/{row['lun']['uuid']}/{row['igroup']['uuid']}",
)  # fmt: skip
SUBSYSTEM_MAPS = Collection(
    "/api/protocols/nvme/subsystem-maps", ("namespace.uuid", "namespace.name", "subsystem.uuid", "subsystem.name"),
    frozenset("anagrpid namespace nsid subsystem svm".split()), ("anagrpid",),
    lambda row: f"/api/protocols/nvme/subsystem-maps/{row['subsystem']['uuid']}/{row['namespace']['uuid']}",
)  # fmt: skip


# -- LUNs and namespaces


def _block_row(call: Call, block: Block) -> dict:
    accesses = call.state.san.accesses_of(block)
    row: dict = {
        "uuid": block.uuid,
        "name": block.name,
        "svm": block.volume.svm.reference(),
        "location": {"volume": block.volume.reference()},
        "enabled": block.state == "online",
        "os_type": "linux",
        "space": {"size": block.size},
        "status": {
            "state": block.state if block.volume.state == "online" else "offline",
            "container_state": "online" if block.volume.state == "online" else "volume_offline",
            "mapped": bool(accesses),
            "read_only": False,
        },
    }
    if block.kind == LUN:
        row["location"]["logical_unit"] = block.inside
        row["serial_number"] = block.serial
        row["serial_number_hex"] = block.serial.encode().hex()
        row["lun_maps"] = [
            {"igroup": {"name": each.name, "uuid": each.uuid}, "logical_unit_number": each.mapped[block.uuid]}
            for each in accesses
        ]
    else:
        row["location"]["namespace"] = block.inside
        row["space"]["block_size"] = 4096
        for each in accesses[:1]:
            row["subsystem_map"] = {"nsid": f"{each.mapped[block.uuid] + 1:08x}h",
                                    "subsystem": {"name": each.name, "uuid": each.uuid}}
    return row


def _blocks(call: Call, kind: str) -> list:
    with call.state.lock:
        found = [each for each in call.state.san.blocks.values() if each.kind == kind and call.sees(each.volume.svm)]
        return [_block_row(call, each) for each in sorted(found, key=lambda each: each.name)]


def list_luns(call: Call) -> Answer:
    return list_answer(LUNS, _blocks(call, LUN), call.request)


def list_namespaces(call: Call) -> Answer:
    return list_answer(NAMESPACES, _blocks(call, NAMESPACE), call.request)


# -- igroups and subsystems


def _access_row(call: Call, access: Access) -> dict:
    row: dict = {"uuid": access.uuid, "name": access.name, "svm": access.svm.reference(), "os_type": access.os_type}
    blocks = [(call.state.san.blocks[key], number) for key, number in access.mapped.items()]
    if access.kind == IGROUP:
        row["protocol"] = access.protocol
        row["initiators"] = [{"name": each} for each in access.hosts]
        row["lun_maps"] = [{"logical_unit_number": number, "lun": {"name": each.name, "uuid": each.uuid}} for each, number in blocks]
    else:
        row["target_nqn"] = access.nqn
        row["hosts"] = [{"nqn": each} for each in access.hosts]
        row["subsystem_maps"] = [{"nsid": f"{number + 1:08x}h", "namespace": {"name": each.name, "uuid": each.uuid}}
                                 for each, number in blocks]
    return row


def _accesses(call: Call, kind: str) -> list:
    with call.state.lock:
        found = [each for each in call.state.san.accesses.values() if each.kind == kind and call.sees(each.svm)]
        return [_access_row(call, each) for each in found]


def list_igroups(call: Call) -> Answer:
    return list_answer(IGROUPS, _accesses(call, IGROUP), call.request)


def list_subsystems(call: Call) -> Answer:
    return list_answer(SUBSYSTEMS, _accesses(call, SUBSYSTEM), call.request)


def _svm(call: Call, body: dict) -> Any:
    told = body.get("svm") or {}
    if not told:
        raise ApiError(400, "2621707", "No SVM was specified. Either svm.name or svm.uuid must be supplied.")
    for svm in call.state.svms.values():
        if told.get("name", svm.name) == svm.name and told.get("uuid", svm.uuid) == svm.uuid and call.sees(svm):
            return svm
    raise ApiError(404, "2621462", "The supplied SVM does not exist.")


def post_igroup(call: Call) -> Answer:
    body = body_of(call, {"name", "svm", "protocol", "os_type", "initiators", "comment", "delete_on_unmap"})
    with call.state.lock:
        svm = _svm(call, body)
        _free(call, IGROUP, svm, body.get("name", ""), "5374023", "An initiator group with the same name already exists.")
        hosts = [each["name"] for each in body.get("initiators", [])]
        if any(not each.startswith(("iqn.", "eui.")) and each.count(":") != 7 for each in hosts):
            raise ApiError(400, "5373993", "A supplied initiator name did not match any valid format.")
        made = call.state.san.add_access(
            IGROUP, svm, body["name"], hosts, protocol=body.get("protocol", "mixed"), os_type=body.get("os_type", "linux"))
        return _created(call, IGROUPS, _access_row(call, made))


def post_subsystem(call: Call) -> Answer:
    body = body_of(call, {"name", "svm", "os_type", "hosts", "comment", "delete_on_unmap"})
    with call.state.lock:
        svm = _svm(call, body)
        _free(call, SUBSYSTEM, svm, body.get("name", ""), "72090025", "The NVMe subsystem already exists for the SVM.")
        hosts = [each["nqn"] for each in body.get("hosts", [])]
        made = call.state.san.add_access(SUBSYSTEM, svm, body["name"], hosts, os_type=body.get("os_type", "linux"))
        return _created(call, SUBSYSTEMS, _access_row(call, made))


def _free(call: Call, kind: str, svm: Any, name: str, code: str, message: str) -> None:
    if not name:
        raise ApiError(400, "262188", 'Field "name" is required.', "name")
    for each in call.state.san.accesses.values():
        if (each.kind, each.svm, each.name) == (kind, svm, name):
            raise ApiError(409, code, message, "name")


def _created(call: Call, collection: Collection, row: dict) -> Answer:
    shown = list_answer(collection, [row], call.request._replace(query=())).body
    body = {"num_records": 1, "records": shown["records"]} if truth(call.request, "return_records", False) else {"num_records": 1}
    return Answer(201, body, (("Location", collection.href(row)),))


def _remove(call: Call, kind: str, missing: str, mapped: str) -> Answer:
    with call.state.lock:
        access = call.state.san.accesses.get(call.keys["uuid"])
        if access is None or access.kind != kind or not call.sees(access.svm):
            raise ApiError(404, missing, "It does not exist.", "uuid")
        if access.mapped and not truth(call.request, "allow_delete_while_mapped", False):
            raise ApiError(409, mapped, f"{access.name} is mapped and allow_delete_while_mapped has not been specified.")
        if kind == SUBSYSTEM and access.hosts and not truth(call.request, "allow_delete_with_hosts", False):
            raise ApiError(409, "72090024", "The NVMe subsystem contains one or more NVMe hosts.")
        for key in list(access.mapped):
            call.state.san.unmap(access, call.state.san.blocks[key])
        del call.state.san.accesses[access.uuid]
    return Answer(200, {})


def delete_igroup(call: Call) -> Answer:
    return _remove(call, IGROUP, "5374852", "1254213")


def delete_subsystem(call: Call) -> Answer:
    return _remove(call, SUBSYSTEM, "72090001", "72090023")


# -- maps


def _maps(call: Call, kind: str, block: str, access: str) -> list:
    rows = []
    for each in call.state.san.accesses.values():
        if each.kind == kind and call.sees(each.svm):
            for key, number in each.mapped.items():
                found = call.state.san.blocks[key]
                more = {"logical_unit_number": number} if kind == IGROUP else {"nsid": f"{number + 1:08x}h"}
                rows.append({block: {"uuid": found.uuid, "name": found.name}, access: {"uuid": each.uuid, "name": each.name},
                             "svm": each.svm.reference(), **more})
    return rows


def list_lun_maps(call: Call) -> Answer:
    with call.state.lock:
        return list_answer(LUN_MAPS, _maps(call, IGROUP, "lun", "igroup"), call.request)


def list_subsystem_maps(call: Call) -> Answer:
    with call.state.lock:
        return list_answer(SUBSYSTEM_MAPS, _maps(call, SUBSYSTEM, "namespace", "subsystem"), call.request)


def _named(things: list, told: dict) -> Any:
    for each in things:
        if told and told.get("uuid", each.uuid) == each.uuid and told.get("name", each.name) == each.name:
            return each
    return None


def _map(call: Call, kind: str, block: str, access: str, codes: tuple, collection: Collection) -> Answer:
    body = body_of(call, {"svm", block, access, "logical_unit_number"})
    san = call.state.san
    with call.state.lock:
        _svm(call, body)
        found = _named([each for each in san.blocks.values() if each.kind == (LUN if kind == IGROUP else NAMESPACE)], body.get(block) or {})
        group = _named([each for each in san.accesses.values() if each.kind == kind], body.get(access) or {})
        if found is None:
            raise ApiError(404, codes[0], f"The specified {block} does not exist.", block)
        if group is None:
            raise ApiError(404, codes[1], f"The specified {access} does not exist.", access)
        if found.uuid in group.mapped:
            raise ApiError(409, codes[2], f"The {block} is already mapped to it.")
        if kind == SUBSYSTEM and san.accesses_of(found):
            raise ApiError(409, codes[2], "The namespace is mapped to another subsystem.")
        san.map(group, found, body.get("logical_unit_number"))
        row = next(each for each in _maps(call, kind, block, access)
                   if (each[block]["uuid"], each[access]["uuid"]) == (found.uuid, group.uuid))
        return _created(call, collection, row)


def post_lun_map(call: Call) -> Answer:
    return _map(call, IGROUP, "lun", "igroup", ("1254201", "5374902", "1254207"), LUN_MAPS)


def post_subsystem_map(call: Call) -> Answer:
    return _map(call, SUBSYSTEM, "namespace", "subsystem", ("72089731", "72090021", "72089790"), SUBSYSTEM_MAPS)


def delete_lun_map(call: Call) -> Answer:
    san = call.state.san
    with call.state.lock:
        block, access = san.blocks.get(call.keys["lun.uuid"]), san.accesses.get(call.keys["igroup.uuid"])
        if block is None or access is None or block.uuid not in access.mapped:
            raise ApiError(404, "5374922", "The specified LUN map does not exist.")
        if not call.sees(access.svm):
            raise no_entry()
        san.unmap(access, block)
    return Answer(200, {})
