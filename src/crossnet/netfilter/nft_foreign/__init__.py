"""What nft tells of rules that somebody else made: `nft -j list ruleset` as tables of the form `foreign`."""

from crossnet.netfilter.nft_foreign.compat import Lines, rule_lines, with_text
from crossnet.netfilter.nft_foreign.ruleset import devices_of, dormant_tables, read_ruleset

__all__ = ["Lines", "devices_of", "dormant_tables", "read_ruleset", "rule_lines", "with_text"]
