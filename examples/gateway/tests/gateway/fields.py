"""Reads structured fields from standard input, each a line of its kind and its value. Prints the members as JSON."""

import json
import sys

import http_sfv


def plain(value):
    return str(value) if isinstance(value, http_sfv.Token) else value


for line in sys.stdin:
    kind, text = line.rstrip("\n").split("\t")
    field = {"list": http_sfv.List, "dictionary": http_sfv.Dictionary, "item": http_sfv.Item}[kind]()
    field.parse(text.encode())
    if kind == "dictionary":
        members = {name: plain(member.value) for name, member in field.items()}
    else:
        items = field if kind == "list" else [field]
        members = [[plain(item.value), {name: plain(it) for name, it in item.params.items()}] for item in items]
    print(json.dumps(members))
