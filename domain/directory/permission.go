package directory

import (
	"slices"
	"strings"

	"docket/domain"
)

// The permission catalogue: one list for all APIs. A key is "<area>.<action>".
// Areas and actions follow the rights that Qalyptus' help names; the other
// APIs call the same rights by words of their own.
var catalogue = map[string][]string{
	"projects":          {"view", "create", "edit", "delete"},
	"connections":       {"view", "create", "edit", "delete"},
	"filters":           {"view", "create", "edit", "delete"},
	"reports":           {"view", "create", "edit", "delete"},
	"conditions":        {"view", "create", "edit", "delete"},
	"tasks":             {"view", "create", "edit", "delete", "run", "stop"},
	"status":            {"view", "delete", "download"},
	"hubFiles":          {"view", "create", "edit", "delete"},
	"hubFolders":        {"view", "create", "edit", "delete"},
	"hubConfig":         {"view", "edit"},
	"qlikApps":          {"view", "create", "edit", "delete"},
	"resources":         {"view", "create", "edit", "delete"},
	"storageServices":   {"view", "create", "edit", "delete"},
	"users":             {"view", "create", "edit", "delete"},
	"groups":            {"view", "create", "edit", "delete"},
	"userDirectories":   {"view", "create", "edit", "delete"},
	"roles":             {"view", "create", "edit", "delete"},
	"organizations":     {"view", "create", "edit", "delete"},
	"identityProviders": {"view", "create", "edit", "delete"},
	"smtpServers":       {"view", "create", "edit", "delete"},
	"trustedOrigins":    {"view", "create", "edit", "delete"},
	"apiKeys":           {"use", "manageAll"},
	"extensions":        {"onDemand", "selfReporting", "notify"},
	"documents":         {"view", "create", "delete", "release"},
	"inputPorts":        {"view", "create", "edit", "delete"}, // queues
	"outputPorts":       {"view", "create", "edit", "delete"}, // printers
	"cards":             {"manage"},                           // of other people
	"shortIds":          {"generate"},
	"oneTimePasswords":  {"generate"},
	"printReports":      {"view"}, // who printed what
	"locations":         {"view", "create", "edit", "delete"},
	"terminals":         {"view", "create"}, // configurations of what is built into printers
	"scanWorkflows":     {"view", "create", "edit", "delete"},
	"scanRules":         {"view", "create", "edit", "delete"}, // who may use which workflow
	"accessKeys":        {"view", "create", "edit", "delete"}, // of the SAFEQ API
	"devices":           {"view", "approve", "delete"},        // that the SAFEQ API trusts
	"audit":             {"view"},
	"operations":        {"view", "edit"}, // projections, jobs: for who runs the server
}

// Areas are the catalogue's areas, sorted.
func Areas() []string {
	areas := make([]string, 0, len(catalogue))
	for a := range catalogue {
		areas = append(areas, a)
	}
	slices.Sort(areas)
	return areas
}

// Actions are the actions of an area, nil for an unknown one.
func Actions(area string) []string { return catalogue[area] }

// Permissions are all keys of the catalogue, sorted.
func Permissions() []string {
	var keys []string
	for area, actions := range catalogue {
		for _, a := range actions {
			keys = append(keys, area+"."+a)
		}
	}
	slices.Sort(keys)
	return keys
}

// KnownPermission tells whether a key is in the catalogue.
func KnownPermission(key string) bool {
	area, action, ok := strings.Cut(key, ".")
	return ok && slices.Contains(catalogue[area], action)
}

// PerProject tells whether a right counts only for the projects of the role that
// gives it, when the role is limited to some (Qalyptus help: projects with all
// that is in them, and tasks).
func PerProject(key string) bool {
	area, _, _ := strings.Cut(key, ".")
	return slices.Contains([]string{"projects", "connections", "filters", "reports", "conditions", "tasks"}, area)
}

// SystemRole is a role that comes with every installation.
type SystemRole struct {
	ID          domain.ID
	Name        string
	Description string
	Permissions []string
}

// Roles that every installation has; they can't be changed or deleted (Qalyptus
// help: six default roles, and "Hub users" for recipients; SAFEQ's documents:
// Administrators, Users, Reporting and Support).
var (
	AdministratorsID = domain.WellKnownID(0x31)
	DevelopersID     = domain.WellKnownID(0x32)
	UsersID          = domain.WellKnownID(0x33)
	NotifyID         = domain.WellKnownID(0x34)
	OnDemandID       = domain.WellKnownID(0x35)
	SelfReportingID  = domain.WellKnownID(0x36)
	HubUsersID       = domain.WellKnownID(0x37)
	ReportingID      = domain.WellKnownID(0x38)
	SupportID        = domain.WellKnownID(0x39)
)

// SystemRoles lists them with what they may do.
func SystemRoles() []SystemRole {
	return []SystemRole{
		{AdministratorsID, "Administrators", "May do everything", Permissions()},
		{DevelopersID, "Developers", "Publish projects, build and run tasks", permissionsOf("apiKeys.use", "users.view", "groups.view", "organizations.view", "roles.view",
			"projects", "connections", "filters", "reports", "conditions", "tasks", "status", "hubFiles", "hubFolders", "storageServices.view", "qlikApps.view", "resources.view")},
		{UsersID, "Users", "See and run what they are given", permissionsOf("apiKeys.use",
			"projects.view", "reports.view", "tasks.view", "tasks.run", "status.view", "status.download", "hubFiles.view", "resources.view",
			"documents", "inputPorts.view", "outputPorts.view", "locations.view", "shortIds", "oneTimePasswords")},
		{NotifyID, "Qalyptus Notify", "Use the Notify extension", permissionsOf("apiKeys.use", "extensions.notify")},
		{OnDemandID, "Qalyptus On-Demand", "Use the On-Demand extension", permissionsOf("apiKeys.use", "extensions.onDemand", "reports.view")},
		{SelfReportingID, "Qalyptus Self-Reporting", "Use the Self-Reporting extension", permissionsOf("apiKeys.use", "extensions.selfReporting", "reports.view")},
		{HubUsersID, "Hub users", "Read what is published to them in the Hub", permissionsOf("hubFiles.view")},
		{ReportingID, "Reporting", "See what was printed", SAFEQPermissions("ViewReport", "ViewAccount")},
		{SupportID, "Support", "See everything about printing, release documents, manage cards", SAFEQPermissions("ViewAccount", "ViewInputPort", "ViewJob", "ViewLocations",
			"ViewOutputPort", "ViewReport", "ViewScanWorkflow", "ViewScanWorkflowAccessRule", "ViewSecurity", "ViewTerminalConfig", "ViewUser", "ReleaseJob", "CardManagement")},
	}
}

// permissionsOf expands whole areas into their keys.
func permissionsOf(names ...string) []string {
	var keys []string
	for _, n := range names {
		if strings.Contains(n, ".") {
			keys = append(keys, n)
			continue
		}
		for _, a := range catalogue[n] {
			keys = append(keys, n+"."+a)
		}
	}
	slices.Sort(keys)
	return keys
}
