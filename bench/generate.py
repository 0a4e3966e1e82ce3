"""The peer of `roslin bench generate --against PYTHON`: transformers' greedy generate in fp32.

    generate.py MODEL THREADS

A line of standard input is {"prompts": [[id, ...], ...], "tokens": N}, prompts of one length; the answer is the seconds that N new
tokens of each took, and the tokens. Needs torch and transformers.
"""

import json
import sys
import time

import torch
import transformers


def main() -> None:
    """Answers line by line."""
    path, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    print(json.dumps({"versions": f"PyTorch {torch.__version__}, transformers {transformers.__version__}"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        prompts = torch.tensor(asked["prompts"])
        started = time.perf_counter()
        with torch.inference_mode():
            answers = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=False,
                max_new_tokens=asked["tokens"],
                min_new_tokens=asked["tokens"],
                pad_token_id=0,
            )
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "tokens": answers[:, prompts.shape[1] :].tolist()}), flush=True)


if __name__ == "__main__":
    main()
