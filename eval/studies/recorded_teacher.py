"""A teacher for `askdocs dataset ground` that gives recorded answers.

    python -m eval.studies.recorded_teacher ANSWERS.jsonl --port 8791

The file has a JSON object with `question` and `answer` on each line. Requests about another
question get the refusal, so that `dataset ground` leaves their rows out.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gateway.answering.grounding.neutral import neutral
from gateway.answering.grounding.prompt import REFUSAL


def serve(recorded: Mapping[str, str], port: int) -> ThreadingHTTPServer:
    """A server on this machine that answers chat completions; not started yet."""
    answers = {neutral(question.strip()): answer for question, answer in recorded.items()}
    # The longest first: a question may begin with another one.
    longest_first = sorted(answers, key=len, reverse=True)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = body["messages"][-1]["content"]
            known = next(filter(asked.startswith, longest_first), None)
            message = {"role": "assistant", "content": answers[known] if known else REFUSAL}
            reply = json.dumps({"choices": [{"message": message}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="recorded answers")
    parser.add_argument("--port", type=int, default=8791)
    options = parser.parse_args(arguments)
    rows = map(json.loads, options.file.read_text(encoding="utf-8").splitlines())
    server = serve({row["question"]: row["answer"] for row in rows}, options.port)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
