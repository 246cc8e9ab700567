package httpx

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRouter(t *testing.T) {
	rt := newRouter()
	var got string
	for _, pattern := range []string{
		"GET /users/{id}", "POST /users/import", "GET /users/profile", "DELETE /users", "HEAD /account", "GET /account",
		"PUT /conditions/{conditionId}/rules", "PUT /conditions/rules/{ruleId}", "GET /a/{x}/b/{y}", "GET /a/lit/c",
	} {
		rt.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) {
			got = pattern
			for _, name := range []string{"id", "conditionId", "ruleId", "x", "y"} {
				if v := r.PathValue(name); v != "" {
					got += " " + name + "=" + v
				}
			}
		})
	}
	for request, want := range map[string]string{
		"GET /users/7":                "GET /users/{id} id=7",
		"GET /users/profile":          "GET /users/profile",
		"POST /users/import":          "POST /users/import",
		"GET /users/import":           "GET /users/{id} id=import",
		"HEAD /users/7":               "GET /users/{id} id=7",
		"HEAD /account":               "HEAD /account",
		"PUT /conditions/1/rules":     "PUT /conditions/{conditionId}/rules conditionId=1",
		"PUT /conditions/rules/1":     "PUT /conditions/rules/{ruleId} ruleId=1",
		"PUT /conditions/rules/rules": "PUT /conditions/rules/{ruleId} ruleId=rules",
		"GET /a/lit/b/2":              "GET /a/{x}/b/{y} x=lit y=2",
		"GET /users/a%2Fb%20c":        "GET /users/{id} id=a/b c",
		"GET /users/":                 "",
		"GET /users":                  "",
		"GET /users/7/":               "",
		"GET /users//7":               "",
		"GET /a/lit/c/d":              "",
		"PATCH /users/7":              "",
	} {
		t.Run(request, func(t *testing.T) {
			got = ""
			method, path, _ := cut(request)
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			require.Equal(t, want, got)
			require.Equal(t, want == "", w.Code == 404)
		})
	}
	require.Equal(t, []string{"GET", "HEAD", "OPTIONS", "POST"}, rt.allowed("/users/import"))
	require.Equal(t, []string{"DELETE", "OPTIONS"}, rt.allowed("/users"))
	require.Empty(t, rt.allowed("/none"))
	require.Panics(t, func() { rt.HandleFunc("GET /users/{other}", nil) })
}

func cut(s string) (string, string, bool) {
	for i := range s {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
