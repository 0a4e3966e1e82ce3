"""What Roslin publishes to a hub beside what huggingface_hub uploads of the same files to the same hub, the small one of the demo:
paths, sizes, digests, and which file is in LFS. Then snapshot_download, transformers, `roslin verify` and `roslin generate` read it.

Needs what published.py needs, huggingface_hub and a built dist/. Exits with 1 if something differs.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import published
import torch
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.hf_api import RepoFile
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKEN = "hf_interopinteropinterop"
ANSWER = dict(instruction="Name the other of them: 3?", tokens=24)

Json = dict[str, Any]


def roslin(*args: str) -> str:
    command = ["node", str(published.ROOT / "bin" / "roslin.js"), *args]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def tree(api: HfApi, repository: str) -> dict[str, Json]:
    """The files of main: size, git's id and the digest of what is in LFS."""
    entries = api.list_repo_tree(repository, recursive=True)
    return {
        each.path: dict(size=each.size, blob=each.blob_id, lfs=each.lfs.sha256 if each.lfs else None)
        for each in entries
        if isinstance(each, RepoFile)
    }


def greedy(directory: str) -> str:
    """Transformers' answer to the prompt that Roslin asks with."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    text = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{ANSWER['instruction']}\n\n### Response:\n"
    )
    ids = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**ids, max_new_tokens=ANSWER["tokens"], do_sample=False, pad_token_id=tokenizer.eos_token_id)
    answer: str = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return answer.split("### End")[0].strip()


def compared(root: pathlib.Path, endpoint: str) -> bool:
    api = HfApi(endpoint=endpoint, token=TOKEN)
    published.make_base(root / "base", published.FAMILIES["llama"], "float32")
    rows = root / "rows.json"
    rows.write_text(json.dumps(published.ROWS))
    config = dict(
        model=dict(source=(root / "base").as_uri()),
        dataset=dict(source=rows.as_uri()),
        preprocess=dict(testRows=8),
        train=dict(shards=2, microBatch=2, maxSteps=6, learningRate=1e-2),
        evaluate=dict(generateSamples=1),
        publish=dict(target="hf://me/roslin"),
    )
    file = root / "run.json"
    file.write_text(json.dumps(config))
    for stage in published.STAGES:
        roslin("stage", stage, "--config", str(file), "--dir", str(root / "stages"))

    info = api.model_info("me/roslin")
    name = json.loads(pathlib.Path(api.hf_hub_download("me/roslin", "manifest.json", cache_dir=root / "cache")).read_text())["name"]
    refs = api.list_repo_refs("me/roslin")
    ours = snapshot_download("me/roslin", endpoint=endpoint, token=TOKEN, local_dir=root / "ours")
    api.create_repo("me/python", private=True)
    api.upload_folder(repo_id="me/python", folder_path=ours, commit_message="the same")

    theirs, mine = tree(api, "me/python"), tree(api, "me/roslin")
    same = True
    for path in sorted(theirs | mine):
        if theirs.get(path) != mine.get(path):
            print(f"OTHER  {path}: huggingface_hub {theirs.get(path)}, Roslin {mine.get(path)}")
            same = False
    large = [path for path, entry in mine.items() if entry["lfs"]]
    print(f"{len(mine)} files, {len(large)} of them in LFS ({', '.join(large)}): {'the same' if same else 'they differ'}")
    if [(tag.name, tag.target_commit) for tag in refs.tags] != [(name, info.sha)]:
        print(f"OTHER  tags: {refs.tags}")
        same = False
    by_tag = snapshot_download("me/roslin", revision=name, endpoint=endpoint, token=TOKEN, cache_dir=root / "cache")
    print(roslin("verify", f"hf://me/roslin@{name}").splitlines()[-1])
    answers = {
        "transformers": greedy(by_tag),
        "Roslin": roslin(
            "generate", "hf://me/roslin", "--prompt", str(ANSWER["instruction"]), "--max-tokens", str(ANSWER["tokens"])
        ).strip(),
    }
    print(answers)
    return same and len(set(answers.values())) == 1


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        (root / "hub").mkdir()
        command = ["node", str(published.ROOT / "dist" / "demo" / "hub" / "main.js"), str(root / "hub"), "0", "me", TOKEN]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            endpoint = server.stdout.readline().strip()
            os.environ |= dict(HF_ENDPOINT=endpoint, HF_TOKEN=TOKEN, ROSLIN_HOME=str(root / "home"), HF_HOME=str(root / "hf"))
            same = compared(root, endpoint)
        finally:
            server.terminate()
            server.wait()
    print("all the same" if same else "something differs")
    return 0 if same else 1


if __name__ == "__main__":
    # the small hub has no Xet; the client reads this when it is imported
    if not constants.HF_HUB_DISABLE_XET:
        os.environ["HF_HUB_DISABLE_XET"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.exit(main())
