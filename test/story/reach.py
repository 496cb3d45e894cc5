"""Who may connect to whom, by the security rules as the cloud gives them back: exactly what Mastodon
needs, also after a change of tiers; and a rule that somebody adds by hand is seen and taken back.
That the rules are enforced is test/story/namespaces.py's."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from harness import *
import reach

HEAD = """\
island: reef
domain: reef.example
cloud: pocket
release: {canary: true}
image: debian-12
network: {cidr: 127.77.0.0/24}
edge: {http: 8080}
"""


def up(t, servers):
    t.island(HEAD + servers)
    t.apply("--no-wait", code=None)
    return Api(t.pocket, "pocket")


def same(api, expected, words):
    wrong = reach.difference(reach.matrix(api, "reef-"), expected)
    check(not wrong, words + ":\n" + "\n".join(wrong))


def test_the_matrix_is_what_roles_need(t):
    t.start_pocket("--no-servers")
    api = up(t, reach.SPLIT_SERVERS)
    same(api, reach.SPLIT, "eight servers, a role each")
    print(f"# {sum(map(len, reach.SPLIT.values()))} connections of "
          f"{9 * 8 - 8} pairs are open", flush=True)


def test_a_rule_by_hand_is_taken_back(t):
    t.start_pocket("--no-servers")
    api = up(t, reach.SMALL_SERVERS)
    same(api, reach.SMALL, "four servers")
    group = [p for p in reach.peers(api, "reef-") if p.name == "db-0"][0].groups[0]
    api.call("network", "POST", "/v2.0/security-group-rules", {"security_group_rule": {
        "security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": 5432, "port_range_max": 5433, "remote_ip_prefix": "0.0.0.0/0"}})
    wrong = reach.difference(reach.matrix(api, "reef-"), reach.SMALL)
    equal(wrong, [f"{s} may reach db-0 on tcp 5432-5433, and should not"
                  for s in ("edge-0", "web-0", "web-1", "world")], "the rule by hand")
    t.apply("--no-wait", code=None)
    same(api, reach.SMALL, "after another apply")


main()
