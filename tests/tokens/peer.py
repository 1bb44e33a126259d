"""What `baatcheet-tokens measure` measures, by tiktoken: `python peer.py FOLDER TURNS`, with TIKTOKEN_CACHE_DIR."""

import json
import pathlib
import sys
import time

import tiktoken


def parts(text):
    """The text as one, and the same cut into messages of about 2,000 bytes."""
    yield "", [text]
    messages, encoded = [], text.encode()
    start = 0
    while start < len(encoded):
        end = min(start + 2000, len(encoded))
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:
            end -= 1
        messages.append(encoded[start:end].decode())
        start = end
    yield ", messages of 2 kB", messages


def main():
    folder, turns = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    encoding = tiktoken.get_encoding("o200k_base")
    for file in sorted(folder.glob("*.txt")):
        text = file.read_bytes().decode()
        for name, texts in parts(text):
            best, tokens = float("inf"), 0
            for _ in range(turns):
                began = time.perf_counter()
                tokens = sum(len(encoding.encode_ordinary(one)) for one in texts)
                best = min(best, time.perf_counter() - began)
            measured = {"name": file.stem + name, "bytes": len(text.encode()), "tokens": tokens, "seconds": best}
            print(json.dumps(measured), flush=True)


main()
