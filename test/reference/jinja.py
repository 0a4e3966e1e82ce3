"""Makes jinja.json: what templates write by transformers 5.24 and jinja2 3.1: python3 jinja.py, in this directory.

Each template uses something that JavaScript's Jinja library does in another way than Python's, or did. "says" is what Roslin
answers where it refuses a template instead of writing another text; null stands for an error of Jinja's own.
"""

import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

MESSAGES = [
    {"role": "system", "content": "S 🙂y"},
    {"role": "user", "content": " hi\nthere 12 "},
    {"role": "assistant", "content": "<think>\nx\n</think>\n\nyes 🐑\n"},
    {"role": "user", "content": "b"},
    {"role": "assistant", "content": "\n\nno\n"},
]
SAME = r"""
{% for m in messages %}{% if loop.first %}{% set x = 'seen' %}{% endif %}{{ m.role }}{{ x }}|{% endfor %}
{% set f = true %}{% for m in messages %}{% if f %}FIRST{% set f = false %}{% endif %}{{ m.role }}{% endfor %}{{ f }}
{% set x = none %}{% for m in messages %}{% if m.role == 'user' %}{% set x = m.content %}{% endif %}{{ x is none }}{% endfor %}
{% for m in messages %}<{{ m.role }}>{% if m.role == 'system' %}SYS{% continue %}{% endif %}{{ m.content }}{% endfor %}
{% for m in messages %}<{{ m.role }}>{% if m.role == 'user' %}U{% break %}{% endif %}{{ m.content }}{% else %}none{% endfor %}
{% for m in messages %}{% continue %}{% else %}none{% endfor %}
{% for i in range(3) %}a{% for j in range(3) %}b{% if j == 1 %}c{% continue %}{% endif %}d{% endfor %}e{% endfor %}
{% for x in missing %}a{% else %}e{% endfor %}
{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{{ m.content }}{% endfor %}
{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined }}>{{ m.role }}>{{ loop.nextitem.role if loop.nextitem is defined }} {% endfor %}
{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{% for k in messages[0] %}{{ k }}{% endfor %}
{% macro f(x) %}[{{ x }}{{ m }}{{ y }}]{% endmacro %}{% set y = 1 %}{% for m in messages %}{% set y = 2 %}{{ f(m.role) }}{% endfor %}
{% macro w() %}<{{ caller() }}>{% endmacro %}{% for m in messages %}{% call w() %}{{ m.role }}{% endcall %}{% endfor %}
{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(3) }}
{{ messages[2].content.strip('\n') }}|{{ messages[4].content.lstrip('\n') }}|{{ 'xxaxx' | trim('x') }}
{{ messages[2].content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }}
{{ messages[0].content | length }} {{ messages[0].content[2] }} {{ messages[0].content[:3] }} {{ messages[0].content[-1] }}
{{ true }} {{ none }} {{ 1 == 1 }} {{ 'a' ~ true ~ 1 ~ none ~ missing ~ 1.5 }} {{ (1 == 1) | string }} {{ missing }}
{% set x %}a{{ 1 == 1 }}{% endset %}[{{ x }}]{% filter upper %}abc{{ 1 == 2 }}{% endfilter %}
{{ -7 % 3 }} {{ 7 % -3 }} {{ -7 // 2 }} {{ 4 / 2 }}
{{ [1,2] == [1,2] }} {{ 1 == '1' }} {{ '' == 0 }} {{ none == missing }} {{ missing == missing2 }} {{ true == 1 }} {{ (1,2) == [1,2] }} {{ {'a':1} == {'a':1} }}
{{ [1] in [[1]] }} {{ 'x' not in 'xyz' }} {{ none in [none] }} {{ missing in ['a'] }}
{{ messages[0].role | capitalize }} {{ messages[0].role.title() }} {{ 'aB cD' | capitalize }}
{{ 'a b  c'.split() | join('-') }} {{ ' a b  c '.split(none, 1) | join('-') }} {{ 'a\u0085b\ufeffc'.split() | length }} {{ '\ufeffa '.strip() }}
{{ messages is iterable }} {{ messages[0] is iterable }} {{ true is number }} {{ missing is iterable }} {{ '1' is lower }} {{ 'ab' is lower }}
{{ messages.length }}|{{ messages[0].content.length }}|{{ none.foo }}|{{ messages[9] }}
{{ (1 == 1) == (2 == 2) }}{{ {'a': 1 == 1, 'b': 2 == 2}['a'] }}{{ [1 == 1, 2 == 3] | length }}{{ 'y' if 1 == 1 else 'z' if 2 == 2 else 'w' }}
""".strip().split("\n")
REFUSED = {
    "{{ messages }}": "writes a list",
    "{{ [1, 'a'] | string }}": "writes a list",
    "{{ messages[0].content.strip }}": "a function",
    "{{ messages[0].foo.bar }}": "messages.0.foo is read",
    "{{ 'a' + 1 }}": "cannot be added",
    "{{ 2 == 2 == 2 }}": "compares more than two values at once",
    "{{ 1.0 | tojson }}": "filter tojson",
    "{{ missing | default(default_value='q') }}": "filter default",
    "{{ '12abc' | int }}": "filter int",
    "{{ 'b' | safe + '<' }}": "filter safe",
    "{{ ['b', 'B'] | unique | join }}": "filter unique",
    "{{ 'aB c' | title }}": "title of other letters",
    "{{ 'abc'.startswith('b', 1) }}": "startswith takes one text",
    "{{ 'a-b'.rsplit('-', 1)[0] }}": "method rsplit",
    "{% for m in messages %}{{ loop.depth }}{% endfor %}": "loop.depth is not known",
    "text\n   {- y -}\nz": "outside of a tag",
}


def written(template: str) -> str | None:
    try:
        return render_jinja_template([MESSAGES], chat_template=template)[0][0]
    except Exception:
        return None


cases = [dict(template=template, text=written(template)) for template in SAME]
assert all(case["text"] is not None for case in cases)
cases += [dict(template=template, text=written(template), says=says) for template, says in REFUSED.items()]
pathlib.Path("jinja.json").write_text(json.dumps(dict(messages=MESSAGES, cases=cases), indent=1) + "\n")
