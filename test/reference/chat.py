"""Makes chat.json: what transformers' chat templates write, and where answers are: python3 chat.py, in this directory.

Made with transformers 5.24 and jinja2 3.1. The templates are minimal ones of public formats. Their {% generation %} blocks say
which text carries loss; they change no text.
"""

import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

ANSWER = "{% generation %}"
END = "{% endgeneration %}"

TEMPLATES = {
    "ChatML": (
        "",
        "<|endoftext|>",
        "<|im_end|>",
        """{% for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    ),
    # the system message lies in the first question; each answer ends with EOS, and BOS stands before each question
    "Llama 2": (
        "<s>",
        "</s>",
        "</s>",
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
        "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
        "{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{% generation %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endgeneration %}{% endif %}"
        "{% endfor %}",
    ),
    "Llama 3": (
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|eot_id|>",
        "{% for message in messages %}"
        "{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
        "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}{% endgeneration %}"
        "{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    ),
    "Zephyr": (
        "<s>",
        "</s>",
        "</s>",
        """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n' }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    ),
    # the system message has no role of its own, and no place in this template
    "Mistral": (
        "<s>",
        "</s>",
        "</s>",
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
        "{% endfor %}",
    ),
    "Gemma": (
        "<bos>",
        "<eos>",
        "<end_of_turn>",
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\\n' }}"
        "{% if role == 'model' %}{% generation %}{{ message['content'] | trim + '<end_of_turn>' }}{% endgeneration %}{{ '\\n' }}"
        "{% else %}{{ message['content'] | trim + '<end_of_turn>\\n' }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    ),
}

HELLO = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}]
MORE = [{"role": "user", "content": "  And an animal,\nplease?  "}, {"role": "assistant", "content": "A sheep 🐑: «Dolly», {{ née }} 1996.\n\nBaa."}]
SYSTEM = [{"role": "system", "content": "You are brief."}]
CONVERSATIONS = {
    "one turn": HELLO,
    "three turns": HELLO + MORE + HELLO,
    "a system message": SYSTEM + HELLO,
    "a system message and two turns": SYSTEM + MORE + HELLO,
}


def render(template: str, messages: list, **names: object) -> str | None:
    """What transformers writes; None where the template raises an exception."""
    try:
        return render_jinja_template([messages], chat_template=template, **names)
    except Exception as error:
        if type(error).__name__ != "TemplateError":
            raise
        return None


cases = []
for name, (bos, eos, end, template) in TEMPLATES.items():
    names = dict(bos_token=bos, eos_token=eos)
    written = []
    for what, messages in CONVERSATIONS.items():
        made = render(template, messages, return_assistant_tokens_mask=True, **names)
        if made is None:
            written.append(dict(conversation=what, messages=messages, text=None))
            continue
        (text,), (places,) = made
        plain = template.replace(ANSWER, "").replace(END, "")
        # the blocks change no text
        assert render(plain, messages, **names)[0][0] == text, name
        written.append(
            dict(
                conversation=what,
                messages=messages,
                text=text,
                scored=[text[first:last] for first, last in places],
                asked=render(plain, messages[:-1], add_generation_prompt=True, **names)[0][0],
            )
        )
    cases.append(dict(name=name, bos=bos, eos=eos, end=end, template=template, conversations=written))

pathlib.Path("chat.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
