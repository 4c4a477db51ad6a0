"""A plain HTTPS caller and an array to try it on, for tests that want no client library between."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.parse

GIB = 2**30
DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}, {"name": "svm_other"}],
    "volumes": [
        {
            "name": "kvmnfs01",
            "svm": "svm_kvm",
            "path": "/kvmnfs01",
            "size": 100 * GIB,
            "used": 40 * GIB,
        },
        {"name": "kvmnfs02", "svm": "svm_kvm", "path": "/kvmnfs02", "snapshot_limit": 3},
        {"name": "kvmnfs01", "svm": "svm_other", "path": "/kvmnfs01"},
    ],
    "lifs": [
        {"name": "lif1", "svm": "svm_kvm", "address": "172.21.35.11"},
        {"name": "lif2", "svm": "svm_kvm", "address": "172.21.36.11", "home_node": "node2"},
    ],
    "shares": [{"name": "kvmsmb01", "svm": "svm_kvm", "path": "/kvmnfs02/smb"}],
    "users": [
        {"name": "admin", "password": "hush-admin", "token": "tok-123", "certificate": True},
        {"name": "reader", "password": "read", "role": "readonly"},
        {"name": "kvmontap", "password": "least", "role": "kvmontap"},
        {"name": "tenant", "password": "one", "role": "admin", "svm": "svm_kvm"},
    ],
    "roles": {
        "kvmontap": [
            {"path": "/api/storage/volumes", "access": "readonly"},
            {"path": "/api/storage/volumes/*/snapshots", "access": "all"},
            {"path": "/api/cluster/jobs", "access": "readonly"},
        ]
    },
    "relationships": [
        {
            "uuid": "6b1f9bd6-1a3d-4e3a-8c3b-111111111111",
            "state": "snapmirrored",
            "healthy": True,
            "lag_time": "PT8H",
            "source": {"path": "svm_kvm:kvmnfs01"},
            "destination": {"path": "svm_dr:kvmnfs01"},
        }
    ],
}


class Caller:
    """A plain HTTPS client: one connection per call, credentials per call."""

    def __init__(self, array, user="admin", password="hush-admin", seconds=10.0):
        self.array, self.seconds = array, seconds
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def connection(self, pair=None):
        context = ssl.create_default_context(cafile=self.array.ca)
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.array.port, context=context, timeout=self.seconds
        )

    def __call__(self, method, path, body=None, authorization=None, pair=None, raw=None, **query):
        """(status, body, headers). `raw`: bytes to send as the body; a query name's `__` is a dot."""
        if query:
            names = {name.replace("__", "."): value for name, value in query.items()}
            path += "?" + urllib.parse.urlencode(names)
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.login if authorization is None else authorization}
        if pair:
            headers = {}
        connection = self.connection(pair)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None, dict(answer.getheaders())
        finally:
            connection.close()
