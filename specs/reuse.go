package specs

var reuseKeys = []string{"max_age"}

// decodeReuse reads what stored measurements must be to be used again.
func (r *reader) decodeReuse(n *node) Reuse {
	var u Reuse
	for _, e := range r.mapping(n, "reuse", reuseKeys) {
		if e.key == "max_age" {
			u.MaxAge = r.durationOf(e.value, "reuse.max_age", 0, "h", "d")
		}
	}
	return u
}

func reuseSchema() *schema {
	return closed(reuseKeys, forms{
		"max_age": duration(0).says("Greatest age", "How old a stored measurement may be to be used again, a duration such as 168h or 7d; an older one is kept, and its point measured anew. 0 for any age.").or("0").such("7d", "12h"),
	}).says("Reuse", "Which stored measurements take the place of new ones.")
}
