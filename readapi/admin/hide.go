package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// hidden stands in the place of what is not shown.
const hidden = "(hidden)"

// secret tells whether a member holds what nobody is shown: hashes of passwords
// and keys, sealed values. It goes by the name, so that it also holds for events
// that cannot be decoded.
func secret(member string) bool {
	name := strings.ToLower(member)
	return strings.HasSuffix(name, "hash") || strings.HasSuffix(name, "password") || strings.HasSuffix(name, "secret") || strings.HasSuffix(name, "sealed")
}

// show hides secrets at any depth, and the named top members unless personal
// data may be seen.
func show(data json.RawMessage, personal []string, mayPersonal bool) (json.RawMessage, error) {
	if len(data) == 0 {
		return json.RawMessage("null"), nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("stored JSON: %w", err)
	}
	changed := hide(value)
	if top, ok := value.(map[string]any); ok && !mayPersonal {
		for member, v := range top {
			if slices.Contains(personal, member) && v != "" && v != nil {
				top[member], changed = hidden, true
			}
		}
	}
	if !changed {
		return data, nil // members stay in their order
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// hide replaces secrets and tells whether there were any.
func hide(value any) (changed bool) {
	switch v := value.(type) {
	case map[string]any:
		for member, inner := range v {
			if secret(member) && inner != nil && inner != "" {
				v[member], changed = hidden, true
			} else if hide(inner) {
				changed = true
			}
		}
	case []any:
		for _, inner := range v {
			if hide(inner) {
				changed = true
			}
		}
	}
	return changed
}
