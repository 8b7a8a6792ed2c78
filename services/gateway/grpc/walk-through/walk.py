# From an OpenAPI document to an answered tool call over gRPC, by Python's grpcio:
#   BMM_TOKEN=bmm_... PYTHONPATH=STUBS python3 walk.py localhost:9787 openapi.yaml SLUG TOOL '{"limit": 3}'
# STUBS is a folder with what protoc made of the contracts; the README of the folder above has the command.
import os
import sys

import grpc

from bmm.gateway.v1 import tool_service_pb2, tool_service_pb2_grpc
from bmm.generator.v1 import generator_service_pb2 as generator
from bmm.generator.v1 import generator_service_pb2_grpc, server_pb2

if len(sys.argv) < 5 or not os.environ.get("BMM_TOKEN"):
    print("usage: BMM_TOKEN=bmm_... python3 walk.py HOST:PORT DOCUMENT SLUG TOOL ['ARGUMENTS']", file=sys.stderr)
    sys.exit(2)
target, document, slug, tool, *rest = sys.argv[1:]
arguments_json = rest[0] if rest else "{}"

# Without TLS, as the port speaks it on the machine itself; grpc.secure_channel behind a proxy.
channel = grpc.insecure_channel(target)
token = [("authorization", "Bearer " + os.environ["BMM_TOKEN"])]
call = {"metadata": token, "timeout": 60}

# 1. What the document would become. Nothing is made yet.
drafts = generator_service_pb2_grpc.DraftServiceStub(channel)
with open(document, "rb") as file:
    draft = drafts.CreateDraft(generator.CreateDraftRequest(document=file.read()), **call).draft
print(f"draft {draft.id}: {draft.tools} tools, {draft.spec_digest}")

# 2. Look at draft.spec before this: creating confirms the bytes of that digest, at that address.
servers = generator_service_pb2_grpc.ServerServiceStub(channel)
created = servers.CreateServer(
    generator.CreateServerRequest(draft_id=draft.id, spec_digest=draft.spec_digest, slug=slug),
    **call,
)
print(f"server {created.server.id} at {created.server.resource_url}")

# 3. Follow its build to the end.
builds = generator_service_pb2_grpc.BuildServiceStub(channel)
state = server_pb2.BUILD_STATE_UNSPECIFIED
request = generator.WatchBuildRequest(build_id=created.build.id)
for message in builds.WatchBuild(request, metadata=token):
    event = message.event
    if event.step == server_pb2.BUILD_STEP_UNSPECIFIED:
        state = event.state
        continue
    step = server_pb2.BuildStep.Name(event.step)
    what = event.line or f"{server_pb2.BuildState.Name(event.state)} {event.elapsed_ms} ms"
    print(f"build: {step} {what}")
if state != server_pb2.BUILD_STATE_SUCCEEDED:
    sys.exit(f"the build ended as {server_pb2.BuildState.Name(state)}")

# 4. Call a tool.
tools = tool_service_pb2_grpc.ToolServiceStub(channel)
answer = tools.CallTool(
    tool_service_pb2.CallToolRequest(server=slug, tool=tool, arguments_json=arguments_json), **call
)
print(f"answer: {answer.result_json}")
sys.exit(1 if answer.is_error else 0)
