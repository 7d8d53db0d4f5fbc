package pipeline

import (
	"testing"
)

func TestAddRefuses(t *testing.T) {
	one := map[string]int{"gpu": 1}
	base := func() *Graph {
		g := &Graph{Units: map[string][]string{"gpu": {"0", "1"}}}
		for _, n := range []*Node{
			{ID: "deploy a", Kind: Service, Uses: map[string]int{"gpu": 2}},
			{ID: "deploy b", Kind: Service, Uses: one},
			{ID: "warm a", Kind: Effect, Needs: []string{"deploy a"}},
			{ID: "load a", Kind: Measurement, Needs: []string{"warm a", "deploy a"}},
			{ID: "collect", Kind: Pure, Needs: []string{"load a"}},
		} {
			if err := g.Add(n); err != nil {
				t.Fatal(err)
			}
		}
		return g
	}
	for want, n := range map[string]*Node{
		`two nodes are called "load a"`:                                              {ID: "load a"},
		`x needs "y", which is not there`:                                            {ID: "x", Needs: []string{"y"}},
		`x is pure and cannot need warm a, which leaves no result`:                   {ID: "x", Needs: []string{"warm a"}},
		`x is a measurement and cannot need collect, whose result is not in its key`: {ID: "x", Kind: Measurement, Needs: []string{"collect"}},
		`x stands on two services, deploy a and deploy b; one is allowed`:            {ID: "x", Kind: Measurement, Needs: []string{"warm a", "deploy b"}},
		`x is a service and cannot stand on deploy a, another one`:                   {ID: "x", Kind: Service, Needs: []string{"warm a"}},
		`x is an effect and stands on no service`:                                    {ID: "x", Kind: Effect, Needs: []string{"load a"}},
		`x needs 3 of gpu, and there are 2`:                                          {ID: "x", Kind: Service, Uses: map[string]int{"gpu": 3}},
		`x needs 2 of load, and there are 1`:                                         {ID: "x", Uses: map[string]int{"load": 2}},
		`x uses -1 of load`:                                                          {ID: "x", Uses: map[string]int{"load": -1}},
		`x needs 1 of gpu; there are 2, and deploy a, which it stands on, holds 2`:   {ID: "x", Kind: Effect, Needs: []string{"deploy a"}, Uses: one},
		`y needs 2 of gpu; there are 2, and deploy b, which it stands on, holds 1`:   {ID: "y", Kind: Measurement, Needs: []string{"deploy b"}, Uses: map[string]int{"gpu": 2}},
	} {
		if err := base().Add(n); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	g := base()
	if err := g.Add(&Node{ID: "load b", Kind: Measurement, Needs: []string{"deploy b"}, Uses: one}); err != nil {
		t.Error(err)
	}
	if g.Node("load b") == nil || g.Node("none") != nil {
		t.Error("Node does not find what is there, or finds what is not")
	}
}
