"""iptables: what iptables-save and ipset say a host holds, and crossnet's own table for their restores."""

from crossnet.netfilter.ipset import parse_ipset_save, write_ipsets
from crossnet.netfilter.iptables_own import (
    check_jump,
    delete_jump,
    insert_jump,
    jump_positions,
    list_chain,
    move_jump,
    own_table,
    remove_empty,
    restore_command,
    tables_of,
    write_chains,
)
from crossnet.netfilter.iptables_save import parse_save
from crossnet.netfilter.iptables_words import fits_multiport, rule_text

__all__ = [
    "check_jump",
    "delete_jump",
    "fits_multiport",
    "insert_jump",
    "jump_positions",
    "list_chain",
    "move_jump",
    "own_table",
    "parse_ipset_save",
    "parse_save",
    "remove_empty",
    "restore_command",
    "rule_text",
    "tables_of",
    "write_chains",
    "write_ipsets",
]
