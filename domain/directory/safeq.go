package directory

import "slices"

// SAFEQRights tells for each permission name of the SAFEQ API which permissions
// of the catalogue it stands for (contract safeq 4.4).
var SAFEQRights = map[string][]string{
	"AddJob":                       {"documents.create"},
	"CardManagement":               {"cards.manage"},
	"CreateAccount":                {"organizations.create"},
	"CreateInputPort":              {"inputPorts.create"},
	"CreateLocations":              {"locations.create"},
	"CreateOutputPort":             {"outputPorts.create"},
	"CreateScanWorkflow":           {"scanWorkflows.create"},
	"CreateScanWorkflowAccessRule": {"scanRules.create"},
	"CreateTerminalConfig":         {"terminals.create"},
	"CreateUser":                   {"users.create", "groups.create"},
	"DeleteAccount":                {"organizations.delete"},
	"DeleteInputPort":              {"inputPorts.delete"},
	"DeleteJob":                    {"documents.delete"},
	"DeleteLocations":              {"locations.delete"},
	"DeleteOutputPort":             {"outputPorts.delete"},
	"DeleteScanWorkflow":           {"scanWorkflows.delete"},
	"DeleteScanWorkflowAccessRule": {"scanRules.delete"},
	"DeleteUser":                   {"users.delete", "groups.delete"},
	"GenerateOTP":                  {"oneTimePasswords.generate"},
	"GenerateShortID":              {"shortIds.generate"},
	"ManageSecurity": {"identityProviders.create", "identityProviders.edit", "identityProviders.delete",
		"userDirectories.create", "userDirectories.edit", "userDirectories.delete", "roles.edit"},
	"ModifyAccount":                {"organizations.edit"},
	"ModifyInputPort":              {"inputPorts.edit"},
	"ModifyLocations":              {"locations.edit"},
	"ModifyOutputPort":             {"outputPorts.edit"},
	"ModifyScanWorkflow":           {"scanWorkflows.edit"},
	"ModifyScanWorkflowAccessRule": {"scanRules.edit"},
	"ModifyUser":                   {"users.edit", "groups.edit"},
	"ReleaseJob":                   {"documents.release"},
	"ViewAccount":                  {"organizations.view"},
	"ViewInputPort":                {"inputPorts.view"},
	"ViewJob":                      {"documents.view"},
	"ViewLocations":                {"locations.view"},
	"ViewOutputPort":               {"outputPorts.view"},
	"ViewReport":                   {"printReports.view"},
	"ViewScanWorkflow":             {"scanWorkflows.view"},
	"ViewScanWorkflowAccessRule":   {"scanRules.view"},
	"ViewSecurity":                 {"identityProviders.view", "userDirectories.view", "roles.view"},
	"ViewTerminalConfig":           {"terminals.view"},
	"ViewUser":                     {"users.view", "groups.view"},
}

// plainRights are SAFEQ's names of what the operations need that "do not require
// Advanced API permissions".
var plainRights = []string{"AddJob", "CardManagement", "ModifyUser", "ReleaseJob", "ViewAccount", "ViewInputPort", "ViewJob", "ViewLocations", "ViewUser"}

// SAFEQPermissions are the catalogue's keys behind names of the SAFEQ API, sorted.
// Unknown names stand for nothing.
func SAFEQPermissions(names ...string) []string {
	keys := []string{}
	for _, name := range names {
		keys = append(keys, SAFEQRights[name]...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Permissions are the catalogue's keys that a request holds which carries the key
// and no user's token, sorted: the key's own rights, or what the operations need
// that take none. A key that always wants a user gives nothing by itself.
func (s AccessKeySettings) Permissions() []string {
	switch {
	case !s.AllowUnauthenticated:
		return []string{}
	case s.Advanced:
		return SAFEQPermissions(s.Rights...)
	}
	return SAFEQPermissions(plainRights...)
}
