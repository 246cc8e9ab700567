package safeq_test

import (
	"net/http"
	"testing"

	"docket/cmd/server/servertest"

	"github.com/stretchr/testify/require"
)

// What a print client and a dashboard do, from the first user to the history.
func TestFromLoginToHistory(t *testing.T) {
	s := start(t)
	s.account(servertest.GlobalID, "print.example", 2)
	admin := s.open()
	admin.user("ada", "detailtype", "0", "detaildata", "Ada Lovelace", "detailtype", "11", "detaildata", "Engines")
	admin.queue("print.example", "Secure")
	port := admin.printer("print.example", "Corridor", "10.0.0.9", "deviceserial", "SN-1")

	ada := s.key(flags{untrusted: true}).login("ada")
	document := ada.upload("ada", "Secure", "Weekly figures", pdf(3)).Is(http.StatusOK).Map()
	require.Equal(t, "Weekly figures", document["documentName"])
	require.Equal(t, "ada", document["userName"])
	id := document["uuid"].(string)
	ready := ada.await(id, 0)
	require.EqualValues(t, 3, ready["totalPages"])
	require.Equal(t, "A4", ready["paperSize"])
	require.Equal(t, true, ready["storageOnline"])
	require.Equal(t, []any{object{"tagType": 0.0, "name": "Engines"}}, ready["tags"])

	ada.ok("POST", "/documents/"+id+"/10.0.0.9", "copies", "2", "duplex", "1")
	printed := ada.await(id, 1)
	require.EqualValues(t, 2, printed["copies"])
	require.EqualValues(t, 1, printed["duplex"])
	require.EqualValues(t, port, printed["outputPortId"])
	require.Equal(t, "Corridor", printed["outputPortName"])
	require.Contains(t, ada.coded(1042, "POST", "/documents/"+id+"/SN-1"), "content is gone")

	history := admin.get("/documents/history?username=ada").Is(http.StatusOK).Map()
	require.EqualValues(t, 1, history["recordsOnPage"])
	require.Equal(t, "", history["nextPageToken"])
	require.Equal(t, "ada", history["userName"])
	require.Equal(t, printed, history["documents"].([]any)[0])
}
