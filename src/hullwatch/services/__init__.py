"""The verbs: what hullwatch does, told in terms of the domain and of ports to the outside."""
