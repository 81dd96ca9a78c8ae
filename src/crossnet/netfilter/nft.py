"""nftables: what `nft -j list ruleset` says a host holds, and crossnet's own table for `nft -f -`."""

from crossnet.netfilter.nft_json import parse_ruleset
from crossnet.netfilter.nft_text import remove_table, rule_text, write_table

__all__ = ["parse_ruleset", "remove_table", "rule_text", "write_table"]
