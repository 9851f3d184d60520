// Package folders names folders of this project, seen from its root.
package folders

const (
	Config    = "config"            // the environments' files
	NodeTools = "node_modules/.bin" // what package.json pins
)
