#!/usr/bin/env bash
# tensorboard 2.21.0: a SessionLog START says that training goes on from its step, so the points at and after that step that
# were written before it are discarded. The Python data path (--load_fast=false, and wherever the data server is not
# installed) takes the first START of a run for its beginning and discards nothing, even if points came before it. A run whose
# file begins with points and has a START only where it was resumed shows the repeated steps twice there. The data server,
# which is the default, and EventAccumulator, which scripts read with, discard them. A file that begins with a START is read
# right by all three.
#
# Seen on 2026-11-30, steps 1 to 10, then a resume at step 6, then steps 6 to 10 again:
#   begins with a point: data server 10, EventAccumulator 10, Python data path 15 points
#   begins with a START: data server 10, EventAccumulator 10, Python data path 10 points
#
# What to do: write a START before the first point of each file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv python >/dev/null
python/bin/pip install --quiet --disable-pip-version-check tensorboard==2.21.0 tensorboard-data-server==0.7.2
cat >look.py <<'PY'
import logging
import sys

from tensorboard import context
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.data import server_ingester
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import grpc_util

logging.getLogger("tensorboard").setLevel(logging.ERROR)


def write(folder, begins_with_start):
    writer = EventFileWriter(folder)
    start = lambda step: writer.add_event(Event(wall_time=1, step=step, session_log=SessionLog(status=SessionLog.START)))
    points = lambda steps: [
        writer.add_event(Event(wall_time=1, step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=step)])))
        for step in steps
    ]
    if begins_with_start:
        start(0)
    points(range(1, 11))
    start(6)
    points(range(6, 11))
    writer.close()


def points(provider):
    request = dict(experiment_id="", plugin_name="scalars", downsample=1000)
    return len(provider.read_scalars(context.RequestContext(), **request)["."]["loss"])


def count(folder):
    server = server_ingester.SubprocessServerDataIngester(
        server_ingester.get_server_binary(),
        folder,
        reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
    )
    server.start()
    accumulator = event_accumulator.EventAccumulator(folder).Reload()
    # what --load_fast=false reads with (data_ingester.py)
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(folder).Reload()
    python = data_provider.MultiplexerDataProvider(multiplexer, folder)
    return [points(server.data_provider), len(accumulator.Scalars("loss")), points(python)]


seen = []
for name, begins_with_start in [("point", False), ("START", True)]:
    write(name, begins_with_start)
    seen.append(count(name))
    print(f"begins with a {name}: data server {seen[-1][0]}, EventAccumulator {seen[-1][1]}, Python data path {seen[-1][2]} points")
sys.exit(0 if seen == [[10, 10, 15], [10, 10, 10]] else 1)
PY
python/bin/python look.py
