import { VitrinaPublish } from "./element";

if (!customElements.get("vitrina-publish")) customElements.define("vitrina-publish", VitrinaPublish);

declare global {
  interface HTMLElementTagNameMap {
    "vitrina-publish": VitrinaPublish;
  }
}
