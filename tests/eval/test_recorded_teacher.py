"""A recorded teacher answers the questions that it knows, as `dataset ground` asks them."""

from threading import Thread

import httpx

from eval.studies.recorded_teacher import serve
from gateway.answering.grounding.prompt import REFUSAL
from training.data.ground import TASK


def test_a_known_question_gets_its_recorded_answer_and_another_the_refusal() -> None:
    recorded = {"Which": "Whichever.", "Which valve? ": "The blue valve."}
    with serve(recorded, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        said = []
        for question in ("Which valve?", "What pump?"):
            task = TASK.format(question=question, answer="Somebody's.")
            body = {"messages": [{"role": "user", "content": task}]}
            url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
            reply = httpx.post(url, json=body).raise_for_status().json()
            said.append(reply["choices"][0]["message"]["content"])
        server.shutdown()
    assert said == ["The blue valve.", REFUSAL]
