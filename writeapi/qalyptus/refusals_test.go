package qalyptus_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"docket/internal/httpx"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// bodies are what the operations with a body take at least, by their numbers.
func bodies() map[string]any {
	key := object{"name": "K", "expiryDate": "2030-01-01T00:00:00Z"}
	organization := object{"displayName": "O", "themeId": uuid.NewString()}
	role := object{"name": "R", "permissions": object{}, "isActive": true}
	recipient := object{"id": uuid.NewString(), "type": "user", "sendEmail": true, "seeInHub": true}
	directory := userDirectoryBody()
	delete(directory, "isActive") // these two are not needed by the shape
	delete(directory, "hostName")
	return map[string]any{
		"185": directory, "188": directory, "186": []string{uuid.NewString()},
		"1": key, "3": object{"name": "K"},
		"22": object{"name": "G"}, "25": object{"name": "G"}, "29": object{"groupId": uuid.NewString(), "name": "G"},
		"55": organization, "57": organization,
		"99": role, "103": role,
		"136": object{"name": "T", "projectId": uuid.NewString()}, "139": object{"name": "T", "isActive": true}, "141": object{},
		"143": []object{{"id": uuid.NewString(), "isActive": true}},
		"151": []object{recipient}, "152": []object{recipient}, "153": recipient,
		"171": userBody(), "174": userBody(), "173": userBody(), "181": userBody(),
		"183": object{"roles": refs(usersRole), "isActive": true, "language": "en"},
		"6":   []string{uuid.NewString()}, "8": []string{uuid.NewString()}, "24": []string{uuid.NewString()}, "69": []string{uuid.NewString()}, "104": []string{uuid.NewString()},
		"138": []string{uuid.NewString()}, "179": []string{uuid.NewString()}, "72": refs(uuid.NewString()),
	}
}

// writesOf are the dialect's registered operations that change something.
func writesOf(t *testing.T, a *api) []httpx.Operation {
	t.Helper()
	for _, registered := range a.APIs() {
		if registered.Dialect().Name != "qalyptus" {
			continue
		}
		var list []httpx.Operation
		for _, op := range registered.Operations() {
			if op.Writes() {
				list = append(list, op)
			}
		}
		require.NotEmpty(t, list)
		return list
	}
	require.Fail(t, "no such dialect")
	return nil
}

// nowhere is the path of an operation on something that is not there.
func nowhere(op httpx.Operation) string {
	return strings.NewReplacer("{id}", uuid.NewString(), "{taskId}", uuid.NewString(), "{projectId}", uuid.NewString()).Replace(strings.TrimPrefix(op.Full, "/api/v2"))
}

// Every write refuses what is not well formed with the dialect's error that
// names the field, and records nothing.
func TestMalformedWrites(t *testing.T) {
	a := start(t)
	all := bodies()
	for _, op := range writesOf(t, a) {
		t.Run(op.ID+" "+op.Summary, func(t *testing.T) {
			a := a.in(t)
			if strings.Contains(op.Full, "{") {
				name := op.Full[strings.Index(op.Full, "{")+1 : strings.Index(op.Full, "}")]
				bad := strings.Replace(op.Full, "{"+name+"}", "no-uuid", 1)
				a.refused(http.StatusBadRequest, op.Method, strings.TrimPrefix(bad, "/api/v2"), all[op.ID], name)
				a.refused(http.StatusNotFound, op.Method, nowhere(op), all[op.ID])
			}
			body, takes := all[op.ID]
			if !takes {
				return
			}
			for _, broken := range []string{"", "{", `{"name":"x"} x`, `"text"`, "nul"} {
				a.refused(http.StatusBadRequest, op.Method, nowhere(op), broken)
			}
			a.Do(op.Method, "/api/v2"+nowhere(op), "name=x", "Content-Type", "application/x-www-form-urlencoded").Is(http.StatusUnsupportedMediaType)
			switch body := body.(type) {
			case object:
				a.malformed(op, body, "", func(b object) any { return b })
			case []object:
				a.malformed(op, body[0], "[0].", func(b object) any { return []object{b} })
				a.refused(http.StatusBadRequest, op.Method, nowhere(op), make([]object, 1001))
			case []string:
				a.refused(http.StatusBadRequest, op.Method, nowhere(op), []any{uuid.NewString(), "no-uuid"}, "[1]")
				a.refused(http.StatusBadRequest, op.Method, nowhere(op), []any{7}, "[0]")
				many := make([]string, 1001)
				for i := range many {
					many[i] = uuid.NewString()
				}
				a.refused(http.StatusBadRequest, op.Method, nowhere(op), many)
			}
		})
	}
	require.Empty(t, new(journal).next(a))
}

// malformed leaves members of a good body out and gives them wrong values.
func (a *api) malformed(op httpx.Operation, body object, at string, whole func(object) any) {
	a.t.Helper()
	for name, value := range body {
		wrong := []any{12.5}
		switch text, isText := value.(string); {
		case name == "email", name == "name" && op.ID == "72": // not needed
		case isText && (strings.HasSuffix(strings.ToLower(name), "id") || name == "expiryDate"):
			wrong = append(wrong, absent, nil, "x", text+"0")
		case isText:
			wrong = append(wrong, absent, nil, "")
		default:
			wrong = append(wrong, absent, nil, "x")
		}
		for _, w := range wrong {
			a.refused(http.StatusBadRequest, op.Method, nowhere(op), whole(with(body, object{name: w})), at+name)
		}
	}
}

// Texts have their limits; they are counted in characters.
func TestLongTexts(t *testing.T) {
	a := start(t)
	p := a.project("Long", global)
	all := bodies()
	all["136"].(object)["projectId"] = id(p)
	for path, number := range map[string]string{"/groups": "22", "/security/roles": "99", "/tasks": "136", "/users": "171", "/users/recipients": "173", "/organizations": "55", "/api-keys": "1"} {
		t.Run(path, func(t *testing.T) {
			a, body := a.in(t), with(all[number].(object), object{"expiryDate": absent})
			name := map[string]string{"/users": "lastName", "/users/recipients": "lastName", "/organizations": "displayName"}[path]
			if name == "" {
				name = "name"
			}
			if path == "/api-keys" {
				body["expiryDate"] = soon()
			}
			a.refused(http.StatusBadRequest, http.MethodPost, path, with(body, object{name: strings.Repeat("ü", 257)}), name)
			body[name] = strings.Repeat("ü", 256)
			if _, person := body["lastName"]; !person {
				a.refused(http.StatusBadRequest, http.MethodPost, path, with(body, object{"description": strings.Repeat("ü", 2001)}), "description")
				body["description"] = strings.Repeat("ü", 2000)
			}
			require.Equal(t, body[name], a.create(path, body)[name])
		})
	}
	big, err := json.Marshal(object{"name": strings.Repeat("x", 2<<20)})
	require.NoError(t, err)
	a.refused(http.StatusRequestEntityTooLarge, http.MethodPost, "/groups", big)
}
