"""Line breaks of a template that a page does not get: inline content over several lines without white space between."""

from __future__ import annotations

import re

from django.template.base import Node, NodeList, Parser, TextNode, Token
from django.template.context import Context
from django.utils.safestring import SafeString

# Where an HTML tag begins and ends, and a line break with the indentation of the next line.
TAG_OR_BREAK = re.compile(r"<(?=[a-zA-Z/])|>|\n\s*")


class JoinedLinesNode(Node):
    """Writes its content as it stands: its text lost its line breaks when it was parsed, so a page pays nothing."""

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist
        join_lines(nodelist)

    def render(self, context: Context) -> SafeString:
        return self.nodelist.render(context)


def join_lines(nodelist: NodeList) -> None:
    """Take line breaks and indentation out of the texts of `nodelist`; within an HTML tag a break becomes a space."""
    is_inside_tag = False

    def replace(match: re.Match[str]) -> str:
        nonlocal is_inside_tag
        if match[0] in "<>":
            is_inside_tag = match[0] == "<"
            return match[0]
        return " " if is_inside_tag else ""

    for node in nodelist.get_nodes_by_type(TextNode):
        node.s = TAG_OR_BREAK.sub(replace, node.s)


def parse_joined_lines(parser: Parser, token: Token) -> JoinedLinesNode:
    """``{% joinlines %}…{% endjoinlines %}``: what values and included templates bring stays as it is."""
    nodelist = parser.parse(("endjoinlines",))
    parser.delete_first_token()
    return JoinedLinesNode(nodelist)
