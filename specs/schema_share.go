package specs

import "strconv"

// leastShared is the size, in bytes of JSON, from which a schema that is there
// twice is written once: a reference is some 40 bytes, and small ones are read
// more easily where they stand.
const leastShared = 250

// shared is s with the schemas of keys that occur more than once written once,
// under $defs: modes, datasets and stages have branches that share most keys.
func shared(s *schema) *schema {
	count := map[string]int{}
	s.eachKey(func(_ string, of *schema) bool {
		count[of.json()]++
		return count[of.json()] == 1 // what is inside is written once, too
	})
	names := map[string]string{} // JSON -> name in $defs
	taken := map[string]bool{}
	var order []string // of JSON, as met
	bodies := map[string]*schema{}
	s.eachKey(func(key string, of *schema) bool {
		text := of.json()
		if count[text] < 2 || len(text) < leastShared || names[text] != "" {
			return true
		}
		name := key
		for i := 2; taken[name]; i++ {
			name = key + "-" + strconv.Itoa(i)
		}
		names[text], taken[name], bodies[text] = name, true, of
		order = append(order, text)
		return true
	})
	var replace func(key string, of *schema) *schema
	replace = func(key string, of *schema) *schema {
		if key != "" {
			if name := names[of.json()]; name != "" {
				return &schema{Ref: "#/$defs/" + name}
			}
		}
		return of.mapped(replace)
	}
	out := s.mapped(replace)
	for _, text := range order {
		out.Defs = append(out.Defs, property{names[text], bodies[text].mapped(replace)})
	}
	return out
}

// json is the schema as text; equal schemas have equal texts.
func (s *schema) json() string {
	data, err := marshal(s)
	if err != nil {
		panic("specs: the schema is not JSON: " + err.Error())
	}
	return string(data)
}

// eachKey visits the schemas of all keys inside s; visit tells whether to look
// inside that one, too.
func (s *schema) eachKey(visit func(key string, of *schema) bool) {
	var look func(key string, of *schema) *schema
	look = func(key string, of *schema) *schema {
		if key != "" && !visit(key, of) {
			return of
		}
		return of.mapped(look)
	}
	s.mapped(look)
}

// mapped is a copy of s with each schema directly inside it changed. key is ""
// but for the properties of an object.
func (s *schema) mapped(change func(key string, of *schema) *schema) *schema {
	c := *s
	at := func(key string, of *schema) *schema {
		if of == nil || of == nothing {
			return of
		}
		return change(key, of)
	}
	c.Properties, c.PatternProperties = nil, nil
	for _, p := range s.Properties {
		c.Properties = append(c.Properties, property{p.name, at(p.name, p.of)})
	}
	for _, p := range s.PatternProperties {
		c.PatternProperties = append(c.PatternProperties, property{p.name, at("axis", p.of)})
	}
	for _, field := range []**schema{&c.Items, &c.AdditionalProperties, &c.PropertyNames, &c.Not, &c.If, &c.Then, &c.Else} {
		*field = at("", *field)
	}
	for _, field := range []*[]*schema{&c.AllOf, &c.AnyOf} {
		var out []*schema
		for _, of := range *field {
			out = append(out, at("", of))
		}
		*field = out
	}
	return &c
}
