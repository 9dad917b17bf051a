# A few shell functions for the README's tour; source it: `. docs/tour.sh`. Needs curl and node.
data=${KEYFRAME_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/keyframe}
web=$data/engine/instances/default/web-1/rootfs # the files of web-1, for looking at and breaking

gql() { # QUERY : asks as whoever signed in last
  curl -s "${API:-http://127.0.0.1:4000/graphql}" -H 'content-type: application/json' \
    ${token:+-H "authorization: Bearer $token"} \
    -d "$(node -p 'JSON.stringify({ query: process.argv[1] })' "$1")"
  echo
}

pick() { # PATH : one value of the answer on standard input
  node -p "JSON.parse(require('fs').readFileSync(0)).data.$1"
}

sign_in() { # ACCOUNT : admin, ops, alice or bob
  local password
  password=$(node -p "require('$data/demo-credentials.json').$1.password")
  token=
  token=$(gql "mutation { signIn(input: { email: \"$1@keyframe.test\", password: \"$password\" }) { accessToken } }" |
    pick signIn.accessToken)
}

snapshot() { # NAME : the id of web-1's snapshot of that name
  gql '{ instance(name: "web-1") { snapshots { nodes { id name } } } }' |
    pick "instance.snapshots.nodes.find((each) => each.name === '$1').id"
}

create() { # NAME STATEFUL
  local id
  id=$(gql '{ instance(name: "web-1") { id } }' | pick instance.id)
  gql "mutation { createSnapshot(input: { instanceId: \"$id\", name: \"$1\", stateful: $2 }) { snapshot { name status } userErrors { message } } }"
}

restore() { # NAME [MEMORY]
  gql "mutation { restoreSnapshot(input: { snapshotId: \"$(snapshot "$1")\", restoreMemory: ${2:-null} }) { operation { status } userErrors { message } } }"
}
