package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KVTransfer is vLLM's --kv-transfer-config: by which connector an instance
// exchanges KV with others, and in which role. The zero value is an instance
// without one. As a flag it is a JSON object.
type KVTransfer struct {
	Connector         string         // such as NixlConnector; "": none
	Role              string         // kv_producer, kv_consumer or kv_both
	EngineID          string         // "": made up at the start
	LoadFailurePolicy string         // fail (the default) or recompute
	Extra             map[string]any // kv_connector_extra_config
	given             map[string]any // all fields as they were given
}

const (
	producer = "kv_producer"
	consumer = "kv_consumer"
	both     = "kv_both"
)

var kvRoles = []string{producer, consumer, both}

// Connectors whose transfers are simulated.
var (
	nixlConnectors = []string{"NixlConnector", "NixlPullConnector"}
	lmcache        = "LMCacheConnectorV1"
)

// otherConnectors are further ones that vLLM has. An instance takes them and
// moves no KV.
var otherConnectors = []string{
	"DecodeBenchConnector", "ExampleConnector", "ExampleHiddenStatesConnector", "FlexKVConnectorV1", "HF3FSKVConnector",
	"HiSparseConnector", "LMCacheMPConnector", "MoRIIOConnector", "MooncakeConnector", "MooncakeStoreConnector",
	"MultiConnector", "NixlPushConnector", "OffloadingConnector", "P2pNcclConnector", "SharedStorageConnector",
	"SimpleCPUOffloadConnector",
}

// kvFields are the fields of the object, as vLLM has them.
var kvFields = []string{
	"enable_permute_local_kv", "engine_id", "kv_buffer_device", "kv_buffer_size", "kv_connector", "kv_connector_extra_config",
	"kv_connector_module_path", "kv_ip", "kv_load_failure_policy", "kv_parallel_size", "kv_port", "kv_rank", "kv_role",
}

func (t *KVTransfer) nixl() bool    { return slices.Contains(nixlConnectors, t.Connector) }
func (t *KVTransfer) lmcache() bool { return t.Connector == lmcache }

// Type names the value in help texts.
func (t *KVTransfer) Type() string { return "json" }

// String is the form that Set reads; "" if it was not given.
func (t *KVTransfer) String() string {
	if t.given == nil {
		return ""
	}
	b, _ := json.Marshal(t.given) // it came out of JSON
	return string(b)
}

// Set reads the JSON object and checks it as vLLM does.
func (t *KVTransfer) Set(text string) error {
	var given map[string]any
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return jsonError(text, err)
	}
	if given == nil {
		return errors.New(`it is null; write an object such as {"kv_connector":"NixlConnector","kv_role":"kv_both"}`)
	}
	set := KVTransfer{given: given}
	for name, value := range given {
		if !slices.Contains(kvFields, name) {
			return fmt.Errorf("%q is not a field of it%s", name, didYouMean(name, kvFields))
		}
		into := map[string]*string{
			"kv_connector": &set.Connector, "kv_role": &set.Role, "engine_id": &set.EngineID, "kv_load_failure_policy": &set.LoadFailurePolicy,
		}[name]
		switch v := value.(type) {
		case nil: // as if it were not there
		case string:
			if into != nil {
				*into = v
			} else if name == "kv_connector_extra_config" {
				return errors.New("kv_connector_extra_config is a text; write an object")
			}
		case map[string]any:
			if name != "kv_connector_extra_config" {
				return fmt.Errorf("%s is an object; write a text", name)
			}
			set.Extra = v
		default:
			if into != nil || name == "kv_connector_extra_config" {
				return fmt.Errorf("%s is %v; that has another type in vLLM", name, v)
			}
		}
	}
	known := slices.Concat(nixlConnectors, []string{lmcache}, otherConnectors)
	switch {
	case set.Role != "" && !slices.Contains(kvRoles, set.Role):
		return fmt.Errorf("unsupported kv_role %q; there are %s", set.Role, strings.Join(kvRoles, ", "))
	case set.Connector != "" && set.Role == "":
		return fmt.Errorf("kv_connector needs a kv_role beside it: %s", strings.Join(kvRoles, ", "))
	case set.Connector != "" && given["kv_connector_module_path"] == nil && !slices.Contains(known, set.Connector):
		return fmt.Errorf("unsupported connector type %q%s", set.Connector, didYouMean(set.Connector, known))
	case set.LoadFailurePolicy != "" && set.LoadFailurePolicy != "fail" && set.LoadFailurePolicy != "recompute":
		return fmt.Errorf("kv_load_failure_policy %q: there are fail and recompute", set.LoadFailurePolicy)
	}
	*t = set
	return nil
}

// lease is how long NIXL holds KV, if the extra configuration says so.
func (t *KVTransfer) lease() (time.Duration, bool) {
	v, ok := t.Extra["kv_lease_duration"].(float64)
	if !ok || v <= 0 || v > 1e9 {
		return 0, false
	}
	return seconds(v), true
}

// unsimulated tells in words what of a connector is not simulated; "" if all is.
func (t *KVTransfer) unsimulated() string {
	switch {
	case t.Connector == "":
		return ""
	case !t.nixl() && !t.lmcache():
		return fmt.Sprintf("connector %s is taken but moves no KV here: every instance prefills by itself", t.Connector)
	case t.LoadFailurePolicy == "recompute":
		return "kv_load_failure_policy recompute is not simulated: a request whose KV cannot be fetched fails"
	}
	return ""
}

// jsonError says where a text stops being JSON.
func jsonError(text string, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		// The offset counts the bytes read, the wrong one included.
		at := min(len(text), max(0, int(syntax.Offset)-1))
		if strings.HasPrefix(syntax.Error(), "unexpected end") {
			return fmt.Errorf("not JSON: it ends too early, after %s", quoteEnd(text))
		}
		return fmt.Errorf("not JSON at character %d, %s: %w", at+1, strconv.Quote(excerpt(text, at)), err)
	case errors.As(err, &kind):
		return fmt.Errorf("it is a JSON %s; write an object", kind.Value)
	}
	return err
}

// excerpt is a little of a text from a position on.
func excerpt(text string, at int) string {
	const length = 24
	if len(text)-at <= length {
		return text[at:]
	}
	return strings.ToValidUTF8(text[at:at+length], "") + "..."
}

func quoteEnd(text string) string {
	const length = 24
	if len(text) <= length {
		return strconv.Quote(text)
	}
	return strconv.Quote("..." + strings.ToValidUTF8(text[len(text)-length:], ""))
}

// nested is a JSON object with one value at a path of keys.
func nested(path []string, value any) map[string]any {
	for _, key := range slices.Backward(path[1:]) {
		value = map[string]any{key: value}
	}
	return map[string]any{path[0]: value}
}

// merge puts all of from into into, objects member by member.
func merge(into, from map[string]any) {
	for name, v := range from {
		inner, isObject := v.(map[string]any)
		have, hasObject := into[name].(map[string]any)
		if isObject && hasObject {
			merge(have, inner)
			continue
		}
		into[name] = v
	}
}

// jsonOrText is the value of a text that may be JSON.
func jsonOrText(text string) any {
	var v any
	if d := json.NewDecoder(bytes.NewReader([]byte(text))); d.Decode(&v) != nil || d.More() {
		return text
	}
	return v
}
